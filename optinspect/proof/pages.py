"""Manual pages of what two checkpoints show, by code: `optinspect rules OI604` prints one."""

from __future__ import annotations

from collections.abc import Mapping

PAGES: Mapping[str, str] = {
    "OI601": """\
Weights and optimizer of one file are not of one moment: the step that the moments describe does not lead to these
weights, but it does with the other half taken from before or after.

Why a resume breaks: the moments describe gradients of other weights; the first updates are wrong and nothing says so.
Harmless when: never.
Repair: take the save before it; write model and optimizer in one file, or move both into place together.
Seen: adaptdl#81 (killed between two files), LlamaFactory#655 (nodes at different steps), DeepSpeed#7405.""",
    "OI602": """\
The optimizer's state and the weights are those of the earlier file to the last bit, though a counter went on.

Why a resume breaks: the work between the two is not in the file; the counter and the schedule say that it is.
Harmless when: a GradScaler skipped the steps, or none was due yet (gradient accumulation): then it is not said.
Repair: find out why the job stopped stepping, or who copied the file.
Seen: DeepSpeed#7405 (checkpoint-800 held global_step799), maxdiffusion#484 (100 beside 101).""",
    "OI603": """\
The optimizer's state began again between the two: steps fell or moments are empty, while the run went on.

Why a resume breaks: bias corrections and moments of a fresh optimizer on trained weights: the loss jumps.
Harmless when: a new phase begins with a fresh optimizer on purpose.
Repair: load the optimizer's state_dict when resuming; to go on here, take its half from the first file.
Seen: loads that fill nothing (KempnerForge#114), gaussian_splatting#32, transformers#5220.""",
    "OI604": """\
The state at an index leads, by the optimizer's own step, to another parameter's weight of the same shape.

Why a resume breaks: each of them goes on with another's moments. load_state_dict pairs by position and says nothing.
Harmless when: never.
Repair: exchange the entries of `state` back, and build the optimizer with its parameters in the saved order.
Seen: pytorch#1489 (open since 2017), Lightning#17025, CenterNet-HarDNet#10, Detectron.pytorch#118.""",
    "OI605": """\
The weights moved in a way, or by more, than this optimizer can move them.

Why a resume breaks: the file holds an average, another run's or edited weights: the moments are not theirs.
Harmless when: weights are changed on purpose after the step (clipped, normalised, averaged): then it is the method.
Repair: save the raw weights beside the optimizer, and the average under a key of its own.
Seen: schnetpack#785 (the weights were the average), Automodel#2571, Megatron PR#6920.""",
    "OI606": """\
The float32 weights of the later file hold nothing that bfloat16 does not, and the step does not lead to them.

Why a resume breaks: 16 of 24 binary digits were lost on the way to the file; the run goes on from rounded weights.
Harmless when: the training itself rounds them so.
Repair: save the float32 weights themselves.
Seen: torchtitan#4615, fairscale#50; exports that were saved over a checkpoint.""",
    "OI607": """\
The step between the two files is exactly that of another rule than the one that the settings declare.

Why a resume breaks: torch will take the declared step from here on: the run changes its optimizer in silence.
Harmless when: the script uses an optimizer of its own with torch's keys, and resumes with it.
Repair: compare the code of the step with the formula that the message names.
Seen: transformers#35504, torchani#261, apex#1849, FlagGems#4988.""",
    "OI608": """\
The averages were made with other betas than the file states, or the betas changed between the two.

Why a resume breaks: the bias corrections 1 − β^t belong to the stated betas; moments of others are scaled wrongly.
Harmless when: a schedule moves them on purpose: groups of OneCycle and Cyclic are left out.
Repair: resume with the betas that the moments were averaged with.
Seen: settings of a new configuration written over a loaded state (pytorch#156846, musubi-tuner#104).""",
    "OI609": """\
The moments of the later file cannot follow from those of the earlier: v fell faster than β2 lets it, or m and v of the
step need two different gradients.

Why a resume breaks: one of the two was edited, cut, rounded, frozen, or is of another run.
Harmless when: the state was repaired or reset on purpose between the two.
Repair: both files must be of one run, unedited; take the optimizer's half of another save.
Seen: shards merged wrongly (DeepSpeed PR#5105), moments cast to half (ultralytics#24079), bit rot.""",
    "OI610": """\
A weight moved though its gradient was zero, by no decay and no momentum that the settings allow.

Why a resume breaks: something beside the optimizer writes weights; a resume that lacks it goes elsewhere.
Harmless when: it is meant: projections, weight tying by copying, an average written back.
Repair: look for code that writes weights by itself.
Seen: pytorch#18404, Muon#54, torchtitan#3886; frozen layers that still decayed (fairseq#4702).""",
    "OI611": """\
The moments are one step apart, but no known rule leads from these weights to those.

Why a resume breaks: what the step was cannot be said; torch's own would go elsewhere.
Harmless when: the optimizer, or what comes after its step, is of your own making and is resumed with it.
Repair: compare the code of the step with the formulas in docs/proof.md.
Seen: kernels that update moments and not weights (pytorch#118117, tt-metal#46776), hand-written loops.""",
    "OI612": """\
lr·weight_decay is so small that 1 − lr·weight_decay rounds to 1 in the weights' dtype: nothing decayed in this step.

Why it matters: the run is configured with a decay that it does not have.
Harmless when: lr is near the end of its schedule, or float32 master weights are kept elsewhere.
Repair: keep weights in a wider dtype, or do not count on the decay.
Seen: OneTrainer#996; bfloat16 weights below lr·weight_decay = 2⁻⁹.""",
    "OI613": """\
The step used an lr that no schedule in the files gives.

Why it matters: a schedule that is resumed will not repeat it.
Harmless when: it was changed on purpose.
Repair: write the change into the schedule, or set lr, initial_lr and base_lrs together.
Seen: rsl_rl#221 (a cached lr written over the restored one), loops that set lr before each step.""",
    "OI614": """\
Settings of a group (betas, eps, weight_decay, flags) differ between the two files.

Why it matters: load_state_dict takes the file's settings: which of the two a resume uses depends on the file.
Harmless when: they were changed on purpose.
Repair: compare with the configuration of the run; `optinspect diff A B` lists every change.
Seen: pytorch#156846, Automodel#3882 (the first step with the wrong decay), transformers PR#35927.""",
    "OI615": """\
The names recorded in the file belong, by the step itself, to other parameters.

Why it matters: what pairs by name puts each state on the wrong weight. torch keeps the names of a file over a load into
another order, and saves them again as if they were true.
Harmless when: nobody relies on the names.
Repair: rebuild the optimizer from named_parameters(); do not trust param_names of this file.
Seen: measured with torch 2.13: an optimizer over (b, a) that loads a file of (a, b) says (a, b) from then on.""",
}
