"""The job of notebook 11 for xtuner 0.2, written by hand: `xtuner train xtuner.py`, in the folder that bench_11.py fills."""

import torch
from datasets import load_dataset
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, DistSamplerSeedHook, IterTimerHook, LoggerHook, ParamSchedulerHook
from mmengine.optim import ConstantLR, OptimWrapper
from peft import LoraConfig
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.dataset.map_fns import openai_map_fn, template_map_fn_factory
from xtuner.engine.runner import TrainLoop
from xtuner.model import SupervisedFinetune

path = "model_for_xtuner"
# xtuner puts the BOS token first by itself, and here that is <|im_start|>
prompt_template = dict(SYSTEM="system\n{system}<|im_end|>\n", INSTRUCTION="<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n", SUFFIX="<|im_end|>", SUFFIX_AS_EOS=True, SEP="\n", STOP_WORDS=["<|im_end|>"])  # fmt: skip
tokenizer = dict(type=AutoTokenizer.from_pretrained, pretrained_model_name_or_path=path, padding_side="right")
model = dict(
    type=SupervisedFinetune,
    llm=dict(type=AutoModelForCausalLM.from_pretrained, pretrained_model_name_or_path=path, torch_dtype=torch.float32),
    lora=dict(type=LoraConfig, r=16, lora_alpha=32, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM"),
    use_activation_checkpointing=False,
)
train_dataset = dict(
    type=process_hf_dataset,
    dataset=dict(type=load_dataset, path="json", data_files=["rows.jsonl"]),
    tokenizer=tokenizer,
    max_length=256,
    dataset_map_fn=openai_map_fn,
    template_map_fn=dict(type=template_map_fn_factory, template=prompt_template),
    shuffle_before_pack=False,
    pack_to_max_length=False,
    map_num_proc=1,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=train_dataset,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate_fn),
)
train_cfg = dict(type=TrainLoop, max_iters=10)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [dict(type=ConstantLR, factor=1.0, by_epoch=False, begin=0, end=10)]
default_hooks = dict(
    timer=dict(type=IterTimerHook),
    logger=dict(type=LoggerHook, log_metric_by_epoch=False, interval=1),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=10),
    sampler_seed=dict(type=DistSamplerSeedHook),
)
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0), dist_cfg=dict(backend="gloo"))  # fmt: skip
randomness = dict(seed=42, deterministic=False)
log_processor = dict(by_epoch=False, window_size=1)
log_level = "INFO"
visualizer = None
load_from = None
resume = False
