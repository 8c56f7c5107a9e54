"""The real DAG in little: the miniature preset with few prompts, few denoising steps and four training steps."""

SETTINGS = (
    "prompts.train=[{source: miniature/training, count: 12}]",
    "prompts.evaluation=[{source: miniature/held_out, split: test, count: 6},"
    " {source: miniature/fidelity, split: fidelity, count: 6}]",
    "pairs.count=8",
    "pairs.shard_size=4",
    "latents.sampling.num_inference_steps=4",
    "latents.shard_size=4",
    "images.sampling.num_inference_steps=4",
    "images.shard_size=6",
    "train.sampling.num_inference_steps=4",
    "train.sampling.gradient_steps=2",
    "train.sampling.attention_steps=1",
    "train.steps=4",
    "train.online.warmup_steps=0",
    "train.batch_size=2",
    "train.pair_batch_size=1",
    "train.checkpoints.every=1",
    "evaluate.attributes.resamples=100",
    "evaluate.spatial.resamples=100",
    "evaluate.complex.resamples=100",
    "evaluate.judge.resamples=100",
    "evaluate.fidelity.resamples=100",
    "evaluate.fidelity.real.count=8",
    "evaluate.fidelity.neighbours=2",
    "evaluate.sensitivity.resamples=100",
    "evaluate.sensitivity.real.count=4",
)

ARGUMENTS = tuple(argument for setting in SETTINGS for argument in ("--set", setting))
