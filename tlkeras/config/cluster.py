"""Where work goes that is not done by this process alone."""

import re
from importlib.util import find_spec
from typing import Any

from tlkeras.errors import UserError

LOCAL = re.compile(r"local:([1-9]\d*)")


def check_cluster(address: str | None) -> None:
    """Refuse what can be refused of `--cluster` before anything starts."""
    if address is None:
        return
    if find_spec("ray") is None:
        raise UserError("--cluster needs Ray, which is not installed: pip install ray.")
    host, _, port = address.rpartition(":")
    if not LOCAL.fullmatch(address) and not (host and host != "local" and port.isdecimal()):
        raise UserError(f"--cluster was {address}; give HOST:PORT, as ray start prints it, or local:N, as local:2.")


def check_cluster_training(options: Any) -> None:
    """Refuse what options of a training cannot have together with `--cluster-training`."""
    if not options.cluster_training:
        return
    if not options.cluster:
        raise UserError("--cluster-training was given without --cluster, which says on what machines. Give both.")
    if getattr(options, "find_learning_rates", False):
        raise UserError("--find-learning-rates tests rates on this machine alone. Leave --cluster-training out.")
    if getattr(options, "devices", 1) not in (1, "auto"):
        raise UserError(
            f"--devices was {options.devices}, and with --cluster-training each GPU of the cluster is a worker of its "
            "own. Leave --devices out."
        )
    if options.batch_norm == "train":
        raise UserError(
            "--batch-norm was train, which takes statistics of the whole batch, and with --cluster-training each "
            "machine sees its part of it only. Leave one of them out."
        )
    if getattr(options, "lora_rank", 0):
        raise UserError("--lora-rank does not go with --cluster-training. Leave one of them out.")
