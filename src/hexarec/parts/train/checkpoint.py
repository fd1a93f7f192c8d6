"""Where a tuning run stands, in the scratch folder of the ambient run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from hexarec.core.atomic import atomic_file
from hexarec.core.errors import StateError
from hexarec.core.ids import digest
from hexarec.core.run import current

if TYPE_CHECKING:
    from hexarec.parts.train.loop import Curve, Plan, Tuned


@dataclass(frozen=True)
class Checkpoint:
    """One file, or none when the run has no scratch folder. Its name is a hash of everything that shapes the run."""

    place: Path | None

    @classmethod
    def of(cls, tunable: Tuned, data: str, plan: Plan, seed: int, key: str) -> Checkpoint:
        """The checkpoint of a run: mark, starting weights, data, plan, seed and key all stand in its name.

        How much goes through one forward does not, so that a run goes on where there is more or less memory; with
        dropout its further draws are then others.
        """
        scratch = current().scratch
        if scratch is None:
            return cls(None)
        shape = repr(replace(plan, tokens=None))
        start = [value.float().cpu().numpy() for value in tunable.begun().values()]
        return cls(scratch / f"tune-{digest(tunable.mark, data, shape, seed, key, *start)}.safetensors")

    def save(self, tunable: Tuned, adam: Any, curve: Curve, best: Mapping[str, Tensor]) -> None:
        """Write where the run stands; a reader sees the old file or the new one."""
        if self.place is None:
            return
        from safetensors.torch import save_file

        held = {f"now.{name}": value for name, value in tunable.state().items()}
        held |= {f"best.{name}": value.clone() for name, value in best.items()}
        for number, moments in adam.state_dict()["state"].items():
            held |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        with atomic_file(self.place) as part:
            save_file(held, part, metadata={"curve": json.dumps(asdict(curve))})

    def resume(self, tunable: Tuned, adam: Any, curve: Curve) -> dict[str, Tensor]:
        """Fill tunable, optimiser and curve from the file if there is one; the weights to keep so far.

        Raises StateError when the file is damaged.
        """
        if self.place is None or not self.place.is_file():
            return tunable.state()
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.place, "pt") as file:
                told = json.loads(file.metadata()["curve"])
                held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            tunable.restore({name[4:]: value for name, value in held.items() if name.startswith("now.")})
            _fill(adam, held)
        except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise StateError(f"{self.place} is damaged: {error}", hint="delete it to begin anew") from None
        for name, value in told.items():
            setattr(curve, name, value)
        curve.valid = [(step, value) for step, value in curve.valid]
        return {name[5:]: value for name, value in held.items() if name.startswith("best.")}


def _fill(adam: Any, held: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in held.items():
        if name.startswith("adam."):
            _, number, what = name.split(".")
            moments.setdefault(int(number), {})[what] = value
    adam.load_state_dict({"state": moments, "param_groups": adam.state_dict()["param_groups"]})
