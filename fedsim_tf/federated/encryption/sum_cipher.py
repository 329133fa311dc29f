"""Encryption of gradients and moments such that somebody without the key can add them up (CKKS, by TenSEAL)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.federated.encryption.tenseal_library import import_tenseal
from fedsim_tf.federated.update import Arrays

SLOTS = 4096  # values in one ciphertext, half of the degree of its polynomials
# As NVIDIA FLARE provisions them: degree 8192, moduli of 60, 40 and 40 bits, numbers in units of 2^-40.
_DEGREE, _MODULI_BITS, _SCALE_BITS = 2 * SLOTS, (60, 40, 40), 40
# CKKS adds noise of some 1e-9, to which Adam would answer where gradients are as small or 0. Values are scaled up
# before, so that what is left is the rounding of double precision. Sums have 100 bits: the largest of 32 sites fit.
_GAIN = 2.0**34
_LARGEST = 2.0**20
_ROUNDING = 2.0**-48  # of decrypted values, relative to the largest of a ciphertext's


class SumCipher:
    """Encrypts, adds up and decrypts arrays of numbers.

    All sites have one secret key; the server has a context without it, with which it can add and nothing else. Sums are
    exact to the rounding of double precision of the largest value.

    Args:
      context: a TenSEAL context, as `make_contexts` or FLARE's provisioning writes it.

    Raises:
      InputError: no such context, or TenSEAL is not installed.
    """

    def __init__(self, context: bytes):
        self._tenseal = import_tenseal()
        try:
            self._context = self._tenseal.context_from(context)
        except (ValueError, RuntimeError) as error:
            raise InputError("context of encryption", found=f"{error}", expected="one that TenSEAL reads") from None

    @property
    def has_key(self) -> bool:
        """Return whether this one can encrypt and decrypt."""
        return bool(self._context.is_private())

    def encrypt(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Return ciphertexts of all values, in the order of the names.

        Args:
          arrays: float32, by name.

        Returns:
          Bytes (uint8), by the number of the part.

        Raises:
          InputError: a value that is too large.
        """
        values = np.concatenate([np.ravel(arrays[name]).astype(np.float64) for name in sorted(arrays)])
        if np.abs(values).max(initial=0.0) > _LARGEST:
            raise InputError(
                "gradients or moments", found="values too large to encrypt", expected=f"at most {_LARGEST:g}"
            )
        parts = [values[start : start + SLOTS] for start in range(0, len(values), SLOTS)]
        return {
            _name_part(number): _to_bytes(self._tenseal.ckks_vector(self._context, (_GAIN * part).tolist()).serialize())
            for number, part in enumerate(parts)
        }

    def add(self, encrypted: Sequence[Arrays]) -> dict[str, np.ndarray]:
        """Return the ciphertexts of a sum; each summand has passed `check`."""
        total = {}
        for name in encrypted[0]:
            first, *others = (self._read(one[name]) for one in encrypted)
            for other in others:
                first += other
            total[name] = _to_bytes(first.serialize())
        return total

    def check(self, encrypted: Arrays, *, count: int, of: str) -> None:
        """Check that ciphertexts are of so many values.

        Raises:
          InputError: they are not; the message names whose they are.
        """
        self._open(encrypted, count=count, of=of)

    def reads(self, part: np.ndarray) -> bool:
        """Return whether bytes (uint8) are a ciphertext."""
        return self._find(part) is not None

    def _open(self, encrypted: Arrays, *, count: int, of: str) -> list[Any]:
        """Return ciphertexts of so many values as TenSEAL has them, in their order; see `check`."""
        subject, expected = f"what {of} encrypted", f"ciphertexts of {count} values"
        sizes, opened = _list_sizes(count), []
        if set(encrypted) != set(sizes):
            raise InputError(subject, found=f"{len(encrypted)} parts", expected=f"{len(sizes)}, {expected}")
        for name, size in sizes.items():
            part = self._find(encrypted[name])
            if part is None:
                raise InputError(subject, found="bytes that are no ciphertext", expected=expected)
            if part.size() != size:
                raise InputError(subject, found=f"{part.size()} values in part {name}", expected=f"{size}, {expected}")
            opened.append(part)
        return opened

    def _find(self, part: np.ndarray) -> Any:
        """Return the ciphertext that bytes are, or None."""
        try:
            return self._read(part)
        except (ValueError, RuntimeError, TypeError):
            return None

    def decrypt(self, encrypted: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """Return the values of ciphertexts, float32.

        Args:
          encrypted: as `encrypt` or `add` returns them.
          shapes: of the arrays, by name.

        Raises:
          InputError: they are ciphertexts of other arrays.
        """
        sizes = {name: math.prod(shapes[name]) for name in sorted(shapes)}
        opened = self._open(encrypted, count=sum(sizes.values()), of="all sites")
        parts = [_settle_zeros(np.array(part.decrypt())) for part in opened]
        values = (np.concatenate(parts) / _GAIN).astype(np.float32)
        ends = np.cumsum(list(sizes.values()))
        cut = np.split(values, ends[:-1])
        return {name: one.reshape(shapes[name]) for name, one in zip(sizes, cut, strict=True)}

    def _read(self, array: np.ndarray):
        return self._tenseal.ckks_vector_from(self._context, array.tobytes())


def _name_part(number: int) -> str:
    """Return the name of a part of ciphertexts, by which parts are sorted."""
    return f"{number:05d}"


def make_contexts() -> tuple[bytes, bytes]:
    """Return a new context for sites, with a secret key, and one for the server, without.

    Raises:
      InputError: TenSEAL is not installed.
    """
    tenseal = import_tenseal()
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        poly_modulus_degree=_DEGREE,
        coeff_mod_bit_sizes=list(_MODULI_BITS),
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
    )
    context.global_scale = 2**_SCALE_BITS
    kept = {"save_galois_keys": False, "save_relin_keys": False}
    of_sites = context.serialize(save_public_key=True, save_secret_key=True, **kept)
    return of_sites, context.serialize(save_public_key=False, save_secret_key=False, **kept)


def _settle_zeros(part: np.ndarray) -> np.ndarray:
    """Return decrypted values with 0 where there is nothing but their rounding, so that what was 0 is 0 again."""
    return np.where(np.abs(part) < _ROUNDING * np.abs(part).max(initial=0.0), 0.0, part)


def _list_sizes(count: int) -> dict[str, int]:
    """Return how many values each part of so many has."""
    return {_name_part(n): min(SLOTS, count - n * SLOTS) for n in range(math.ceil(count / SLOTS))}


def _to_bytes(serialized: bytes) -> np.ndarray:
    return np.frombuffer(serialized, np.uint8)
