"""Where a covariant computation keeps what it will need again: in memory, as checkpoints, or in a directory.

Nothing is ever stepped backwards, since training maps cannot be inverted. A stretch is computed again from its
checkpoint by the same compiled function, and must end in the bits of the next checkpoint.
"""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xxhash
import zarr

from thetadot.stability.blocks import Carry
from thetadot.stability.errors import ConfigurationMismatchError, RecomputationError

FORMAT = "thetadot covariant vectors, version 1"
_MANIFEST = "manifest.json"


def where_computed() -> dict[str, str]:
    """What the last bits depend on."""
    import jaxlib.version

    return {
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "device": f"{jax.default_backend()} {jax.devices()[0].device_kind}",
        "threads": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "flags": os.environ.get("XLA_FLAGS", ""),
        "machine": platform.machine(),
    }


def checksum(carry: Carry) -> str:
    """xxh3 of the bytes of a carry."""
    digest = xxhash.xxh3_64()
    for part in carry:
        digest.update(np.ascontiguousarray(np.asarray(part)).tobytes())
    return digest.hexdigest()


def fingerprint(system: Any, settings: dict[str, Any]) -> str:
    """Hash of a system (arrays by their bytes, functions by their code and name) and of settings."""
    digest = xxhash.xxh3_128()
    arrays, static = eqx.partition(system, eqx.is_array)
    for leaf in jax.tree.leaves(arrays):
        plain = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        values = np.asarray(plain)
        digest.update(f"{values.dtype}{values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    leaves, structure = jax.tree.flatten(static)
    for item in [*leaves, structure]:
        code = getattr(item, "__code__", None)
        text = repr(item) if code is None else f"{item.__qualname__}{code.co_code!r}{code.co_consts!r}"
        digest.update(re.sub(r"0x[0-9a-f]+", "", text).encode())
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()


class Checkpoints:
    """Carries at the borders of stretches, with their checksums; in memory."""

    def __init__(self):
        self._kept: dict[int, Carry] = {}
        self._sums: dict[int, str] = {}

    def put(self, number: int, carry: Carry) -> None:
        """Keep the carry before stretch `number`."""
        self._kept[number] = jax.tree.map(np.array, carry)
        self._sums[number] = checksum(carry)

    def get(self, number: int) -> Carry:
        """The carry before stretch `number`.

        Raises:
            RecomputationError: it no longer has the bits that were written.
        """
        carry = self._kept[number]
        if checksum(carry) != self._sums[number]:
            raise RecomputationError(
                f"checkpoint {number} no longer has the bits it was written with: start again in a fresh directory"
            )
        return jax.tree.map(jnp.asarray, carry)

    def check_end(self, number: int, carry: Carry) -> None:
        """Raise unless a stretch computed again ended in the bits of checkpoint `number`.

        Raises:
            RecomputationError: it did not.
        """
        if number in self._sums and checksum(carry) != self._sums[number]:
            raise RecomputationError(
                f"the stretch before checkpoint {number} was computed again and ended in other bits. "
                f"{self.difference()}"
            )

    def difference(self) -> str:
        """What may have caused other bits."""
        return (
            "Nothing of what is recorded has changed (JAX, device, threads): the step is not a pure function of "
            "(state, n)"
        )


class Directory(Checkpoints):
    """Checkpoints, triangles and results in a Zarr group, committed by replacing its manifest.

    What the manifest does not count does not exist; so a computation killed at any instant goes on from its last
    commit.
    """

    def __init__(self, path: str | Path, configuration: str):
        super().__init__()
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.group = zarr.open_group(str(self.path / "data.zarr"), mode="a")
        self.here = where_computed()
        file = self.path / _MANIFEST
        if file.exists():
            self.state = json.loads(file.read_text(encoding="utf-8"))
            if self.state.get("format") != FORMAT or self.state["configuration"] != configuration:
                raise ConfigurationMismatchError(
                    f"{self.path} holds covariant vectors computed with other arguments: choose another directory, "
                    "or give the arguments it was made with"
                )
        else:
            self.state = {"format": FORMAT, "configuration": configuration, "made": self.here, "sums": {}}
            self.state |= {"forward": 0, "backward": None}
            self.commit()

    def commit(self, **changes: Any) -> None:
        """Make what was written so far part of the computation."""
        self.state |= changes
        file = self.path / _MANIFEST
        fresh = file.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as out:
            json.dump(self.state, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(fresh, file)

    def array(self, name: str, shape: tuple[int, ...], chunk: int) -> Any:
        """The Zarr array of this name, made if it is not there; chunked along the first axis."""
        if name not in self.group:
            chunks = (min(chunk, shape[0]), *shape[1:])
            self.group.create_array(name, shape=shape, chunks=chunks, dtype=float, fill_value=np.nan)
        return self.group[name]

    def put(self, number: int, carry: Carry) -> None:
        """Write the carry before stretch `number`; it counts from the next commit."""
        for name, part in zip(Carry._fields, carry, strict=True):
            values = np.asarray(part)
            where = f"checkpoint{number}_{name}"
            if where in self.group:
                del self.group[where]
            self.group.create_array(where, data=np.atleast_1d(values))
        self.state["sums"][str(number)] = checksum(carry)

    def get(self, number: int) -> Carry:
        """Read the carry before stretch `number`.

        Raises:
            RecomputationError: it no longer has the bits that were written.
        """
        parts = [np.asarray(self.group[f"checkpoint{number}_{name}"]) for name in Carry._fields]
        carry = Carry(*(jnp.asarray(part) for part in (parts[0], parts[1], parts[2].reshape(()))))
        if checksum(carry) != self.state["sums"][str(number)]:
            raise RecomputationError(
                f"checkpoint {number} in {self.path} no longer has the bits it was written with: start again in a "
                "fresh directory"
            )
        return carry

    def check_end(self, number: int, carry: Carry) -> None:
        """Raise unless a stretch computed again ended in the bits of checkpoint `number`."""
        self._sums = {int(key): value for key, value in self.state["sums"].items()}
        super().check_end(number, carry)

    def difference(self) -> str:
        """What has changed since the computation began."""
        changed = [
            f"{name} was {value!r} and is {self.here[name]!r}"
            for name, value in self.state["made"].items()
            if self.here.get(name) != value
        ]
        return "Since it was begun " + "; ".join(changed) if changed else super().difference()
