"""The order in which known architectures create their modules, as data. Read from live models, none of it guessed.

An entry lists the names of modules and parameters, so that among siblings the one listed first comes first in
`named_parameters()`. One list serves all levels: no two names stand in one order here and in the other there.
Numbers ascend and a module's own parameters come before its children's: that needs no entry. Names that older and
newer versions use are listed together where they are never siblings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """title: for the report; types: `model_type` of config.json; order: names; marks: names that only it has.

    until  first major version of transformers that this order is not right for; since: the first that it is
    """

    title: str
    types: frozenset[str]
    order: tuple[str, ...]
    marks: frozenset[str]
    since: int = 0
    until: int = 1000


def _of(title: str, types: str, order: str, marks: str, since: int = 0, until: int = 1000) -> Architecture:
    return Architecture(title, frozenset(types.split()), tuple(order.split()), frozenset(marks.split()), since, until)


_LLAMA = (
    "model embed_tokens layers self_attn q_proj k_proj v_proj o_proj q_norm k_norm mlp gate experts shared_expert"
    " gate_proj up_proj gate_up_proj down_proj shared_expert_gate input_layernorm post_attention_layernorm"
    " pre_feedforward_layernorm post_feedforward_layernorm norm lm_head score classifier"
)
_BERT_BLOCK = "encoder layer attention self query key value intermediate output dense LayerNorm pooler"
_BERT_HEADS = (
    "lm_head discriminator_predictions generator_predictions dense_prediction generator_lm_head cls predictions"
    " transform layer_norm decoder seq_relationship classifier out_proj qa_outputs"
)

ARCHITECTURES: tuple[Architecture, ...] = (
    _of(
        "GPT-2",
        "gpt2",
        "transformer wte wpe h ln_1 attn c_attn q_attn ln_2 crossattention ln_cross_attn mlp c_fc c_proj ln_f"
        " lm_head score classifier",
        "c_attn c_fc",
    ),
    _of("Llama", "llama mistral qwen2 qwen3 qwen2_moe gemma gemma2 olmo2", _LLAMA, "q_proj o_proj gate_proj down_proj"),
    _of(
        "Phi-3",
        "phi3",
        "model embed_tokens layers self_attn o_proj qkv_proj mlp gate_up_proj down_proj input_layernorm"
        " post_attention_layernorm norm lm_head score",
        "qkv_proj gate_up_proj o_proj",
    ),
    _of(
        "BERT",
        "bert electra",
        "bert electra embeddings word_embeddings position_embeddings token_type_embeddings embeddings_project"
        f" {_BERT_BLOCK} {_BERT_HEADS}",
        "query key value intermediate token_type_embeddings",
    ),
    _of(
        "RoBERTa",
        "roberta xlm-roberta camembert",
        f"roberta embeddings word_embeddings token_type_embeddings {_BERT_BLOCK} position_embeddings {_BERT_HEADS}",
        "",
        since=5,
    ),
    _of(
        "RoBERTa",
        "roberta xlm-roberta camembert",
        f"roberta embeddings word_embeddings position_embeddings token_type_embeddings {_BERT_BLOCK} {_BERT_HEADS}",
        "",
        until=5,
    ),
    _of(
        "DistilBERT",
        "distilbert",
        "distilbert embeddings word_embeddings position_embeddings LayerNorm transformer layer attention q_lin k_lin"
        " v_lin out_lin sa_layer_norm ffn lin1 lin2 output_layer_norm pre_classifier classifier qa_outputs",
        "q_lin k_lin v_lin out_lin",
    ),
    _of(
        "T5",
        "t5 mt5",
        "shared embed_tokens encoder decoder block layer SelfAttention EncDecAttention DenseReluDense q k v wi wi_0"
        " wi_1 o wo relative_attention_bias layer_norm final_layer_norm lm_head classification_head dense out_proj",
        "SelfAttention DenseReluDense",
    ),
    _of(
        "ViT",
        "vit deit",
        "vit deit embeddings cls_token mask_token position_embeddings distillation_token patch_embeddings encoder layer"
        " layers attention query key value q_proj k_proj v_proj o_proj layernorm_before layernorm_after mlp fc1 fc2"
        " intermediate output layernorm pooler decoder classifier cls_classifier distillation_classifier",
        "patch_embeddings layernorm_before",
        since=5,
    ),
    _of(
        "ViT",
        "vit deit",
        "vit deit embeddings cls_token distillation_token mask_token position_embeddings patch_embeddings encoder layer"
        " attention query key value intermediate output layernorm_before layernorm_after layernorm pooler decoder"
        " classifier cls_classifier distillation_classifier",
        "",
        until=5,
    ),
    _of(
        "GPT-NeoX",
        "gpt_neox",
        "gpt_neox embed_in layers input_layernorm post_attention_layernorm attention query_key_value mlp dense"
        " dense_h_to_4h dense_4h_to_h final_layer_norm embed_out lm_head score",
        "dense_h_to_4h query_key_value",
    ),
)
"""Asked in this order. Those without marks are taken only where config.json names them."""

ADAPTERS = ("original_module", "base_layer", "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B",
            "lora_magnitude_vector", "modules_to_save")  # fmt: skip
WRAPPERS = ("base_model",)
