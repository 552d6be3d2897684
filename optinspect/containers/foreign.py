"""Files that are no checkpoint, by their first bytes: one honest line each. Nothing is ever unpacked."""

from __future__ import annotations

import re

from optinspect.containers.source import Source
from optinspect.containers.wording import counted, line, printable
from optinspect.errors import MalformedCheckpoint, NotACheckpoint, OptinspectError, TruncatedCheckpoint

HEAD = 4096
"""Bytes that recognisers look at."""


_KINDS = (
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "run: git lfs pull"),
    (rb"(/annex/objects/|[./]*\.git/annex/objects/)", "a git-annex pointer, not the file itself", "run: git annex get"),
    (rb"\x1f\x8b", "a gzip file", "unpack it first: gunzip -k"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file", "unpack it first: bunzip2 -k"),
    (rb"\xfd7zXZ\x00", "an xz file", "unpack it first: unxz -k"),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it first: unzstd"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first: 7z x"),
    (rb"Rar!\x1a\x07", "a RAR archive", "unpack it first: unrar x"),
    (rb".{257}ustar", "a tar archive", "unpack it first: tar -xf"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights, perhaps)", "open it with h5py or Keras"),
    (rb"\x93NUMPY", "a numpy array (npy)", "open it with numpy.load"),
    (rb"GGUF", "a GGUF model (llama.cpp)", "it holds no optimizer state: use the training checkpoint"),
    (rb"\x08\x01\x12.{1,3}\x0a", "a TensorFlow SavedModel", "its variables need TensorFlow to be read"),
    (rb".{4}TFL3", "a TensorFlow Lite model", "it holds no optimizer state: use the training checkpoint"),
    (rb"[\x80-\x8f][\xa1-\xbf][a-z_]", "a msgpack file (Flax, perhaps)", "it needs flax or msgpack to be read"),
    (rb"\x08[\x01-\x0f](\x12|\x3a|\x22)", "an ONNX model", "it holds no optimizer state: use the training checkpoint"),
    (rb"\s*<\?xml", "an XML document (an error message of a storage service?)", "download the file again"),
    (rb"\s*<(!doctype|html|head|body|!--)", "an HTML page (an error or login page?)", "download the file again"),
    (rb"\s*(\{|\[)[\s\"\]\[{}0-9tfn-]", "JSON text", "give the checkpoint, not its description"),
    (rb"\x7fELF|MZ.{64}|\xcf\xfa\xed\xfe", "a program or library", "check the path"),
    (rb"%PDF-", "a PDF document", "check the path"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "an image", "check the path"),
    (rb"PK\x05\x06", "an empty zip archive", "check what wrote it"),
    (rb"[A-Za-z0-9+/\r\n]{64,}={0,2}\s*\Z", "base64 text", "decode it first: base64 -d"),
)
"""(pattern of the beginning, what it is, what to do); compiled only when a file is refused."""


def refusal(source: Source, head: bytes) -> OptinspectError:
    """The error that names what this file is instead of a checkpoint."""
    if not head:
        return TruncatedCheckpoint(line(source.path, "the file is empty"), hint="save or copy it again")
    if b"PK\x03\x04".startswith(head):
        found = f"is cut short: {counted(len(head), 'byte')} of a zip archive"
        return TruncatedCheckpoint(line(source.path, found), hint="save or copy it again")
    if not head.strip(b"\0"):
        return _zeros(source, head)
    for pattern, found, hint in _KINDS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return NotACheckpoint(line(source.path, f"{found} (a checkpoint expected)"), hint=hint)
    return _unknown(source, head)


def _zeros(source: Source, head: bytes) -> OptinspectError:
    """All zero as far as a bounded look can tell: the beginning, the middle and the end."""
    places = (source.size // 2, max(source.size - HEAD, 0))
    if any(source.head(HEAD, place).strip(b"\0") for place in places):
        found = f"begins with {counted(len(head), 'zero byte')} (a checkpoint expected)"
    else:
        found = f"holds only zero bytes ({source.size:,}): space was reserved, but never written"
    return NotACheckpoint(line(source.path, found), hint="copy or save it again")


def _unknown(source: Source, head: bytes) -> OptinspectError:
    inner = head.find(b"PK\x03\x04")
    if inner > 0 and b"data.pkl" in head[inner : inner + 512]:
        found = f"{counted(inner, 'byte')} stand before the first zip record (none expected)"
        return MalformedCheckpoint(line(source.path, found), hint=f"cut them off: tail -c +{inner + 1}")
    shown = printable(head[:12].decode("latin-1"))
    return NotACheckpoint(
        line(source.path, f"no kind of checkpoint that is known (it begins with {shown})"),
        hint="torch.save files (zip and legacy), pickles and safetensors are read",
    )
