"""The `local` judge: a transformers causal language model on this machine, read through its next-token logits."""

from pi_integrations.engine.judges.local.judge import LocalJudge

__all__ = ["LocalJudge"]
