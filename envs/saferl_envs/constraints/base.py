"""What a constraint is: a frozen, named, signed function of signals, ``g <= 0`` satisfied, with a JSON round trip.

Every method of the suite enforces this one type. A family (one file each beside this one) subclasses `Constraint` and
implements `value`; defining the class registers it, so `from_spec` finds it by name.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from saferl_envs.constraints.gate import Gate, gate_from_spec
from saferl_envs.errors import ConstraintError, SignalError, choose
from saferl_envs.signals import BoolArray, FloatArray, SignalInfo, Signals, columns_of

Kind = Literal["hard", "soft", "style"]
CostShape = Literal["indicator", "excess", "sqrt", "log1p", "signed"]
Aggregate = Literal["sum", "mean", "discounted"]
Sense = Literal["<=", ">=", "=="]
Spec = dict[str, Any]

_FAMILIES: dict[str, type[Constraint]] = {}
_PLAIN_TYPES: dict[str, type] = {"str": str, "bool": bool}


@dataclass(frozen=True, kw_only=True)
class Constraint(ABC):
    """One named constraint with K components; component k is satisfied iff ``value(signals)[:, k] <= 0``.

    Attributes:
        name: Identifier, used in logs, ``info`` keys and configurations.
        limit: The number inside g, in `unit`.
        unit: Unit of g and of the limit.
        components: Names of the K columns; None until `bind` fills in all components on offer.
        kind: ``hard`` must never happen, ``soft`` may be crossed while exploring, ``style`` shapes behaviour. A method
            turns the kind into numbers; the constraint does not.
        cost: How the worst component's g becomes the per-step cost: ``indicator`` 1[g > 0], ``excess`` max(g, 0),
            ``sqrt`` and ``log1p`` of the excess, ``signed`` g itself.
        aggregate: How per-step costs become the episode's cost.
        sense: How the expected aggregate is compared with `cost_limit`.
        cost_limit: Bound on the expected aggregate per episode, or None when nothing bounds it.
        when: Gates that all must be open for the constraint to apply; where one is closed, nothing is violated.
    """

    name: str
    limit: float
    unit: str = "1"
    components: tuple[str, ...] | None = None
    kind: Kind = "soft"
    cost: CostShape = "indicator"
    aggregate: Aggregate = "sum"
    sense: Sense = "<="
    cost_limit: float | None = None
    when: tuple[Gate, ...] = ()
    columns: Mapping[str, tuple[int, ...]] | None = field(default=None, compare=False, repr=False)

    family: ClassVar[str] = ""
    graded: ClassVar[bool] = True
    """Whether g says by how much; else it is a yes or no, a count, or tells something at single moments only."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.family and cls.family not in _FAMILIES:
            _FAMILIES[cls.family] = cls

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            kind = _PLAIN_TYPES.get(str(f.type))
            if kind is not None and not isinstance(getattr(self, f.name), kind):
                raise ConstraintError(
                    f"constraint {self.name!r}: {f.name} must be {kind.__name__}, got {getattr(self, f.name)!r}"
                )
        if not isinstance(self.name, str) or not self.name.replace("_", "").replace("/", "").isalnum():
            raise ConstraintError(f"constraint name {self.name!r}: use letters, digits and underscores")
        self._require_number("limit", self.limit)
        if self.cost_limit is not None:
            self._require_number("cost_limit", self.cost_limit)
        for key, allowed in (("kind", Kind), ("cost", CostShape), ("aggregate", Aggregate), ("sense", Sense)):
            if getattr(self, key) not in get_args(allowed):
                raise ConstraintError(choose(key, getattr(self, key), get_args(allowed), f"constraint {self.name!r}"))
        if isinstance(self.components, list):
            object.__setattr__(self, "components", tuple(self.components))
        if self.components is not None:
            self._require_names("components", self.components)
        if not isinstance(self.when, (tuple, list)):
            raise ConstraintError(f"constraint {self.name!r}: when must be a list of gates, got {self.when!r}")
        object.__setattr__(self, "when", tuple(gate_from_spec(gate, f"constraint {self.name!r}") for gate in self.when))

    def _require_number(self, key: str, number: object) -> None:
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise ConstraintError(f"constraint {self.name!r}: {key} must be a finite number, got {number!r}")

    def _require_names(self, key: str, names: tuple[str, ...]) -> None:
        valid = isinstance(names, tuple) and names and all(isinstance(n, str) for n in names)
        if not valid or len(set(names)) < len(names):
            raise ConstraintError(f"constraint {self.name!r}: {key} must be a list of distinct names, got {names!r}")

    @property
    @abstractmethod
    def requires(self) -> frozenset[str]:
        """Names of the signals that `value` reads."""

    @property
    def reads(self) -> frozenset[str]:
        """Names of all signals that are read: by `value`, and by the gates."""
        return self.requires.union(gate.signal for gate in self.when)

    def excused(self, signals: Signals) -> BoolArray | None:
        """Return (N,) where a gate is closed, so that the constraint does not apply; None for one without gates."""
        found = None
        for gate in self.when:
            found = gate.is_closed(signals) if found is None else found | gate.is_closed(signals)
        return found

    @abstractmethod
    def value(self, signals: Signals) -> FloatArray:
        """Return the signed values g, shape (N, K), in `unit`; ``g <= 0`` is satisfied. Gates are not its concern.

        Args:
            signals: The required signals, each (N, d). Not modified.
        """

    def gradient(self, signals: Signals) -> Mapping[str, FloatArray] | None:
        """Return dg/dsignal as ``{signal: (N, K, d)}``, or None where the family has no closed form."""
        return None

    @property
    def bounds_from_above(self) -> bool:
        """Whether the limited quantity is ``limit + g`` (must stay below the limit) or ``limit - g`` (above); for plots."""
        return True

    @property
    def component_signals(self) -> tuple[str, ...]:
        """The required signals whose columns are the components (12 joints); empty where g has one column of its own."""
        return ()

    def bind(self, offers: Mapping[str, SignalInfo]) -> Self:
        """Return this constraint resolved against a source: components filled in, columns looked up.

        Raises:
            SignalError: A required signal or component is not on offer; the message lists those that are.
            ConstraintError: Several components are named, but g has one column of its own.
        """
        where = f"constraint {self.name!r}"
        columns = {}
        names = self.components
        for signal in sorted(self.requires):
            wanted = self.components if signal in self.component_signals else None
            found, columns[signal] = columns_of(offers, signal, wanted, where)
            if signal in self.component_signals and not found:
                raise SignalError(f"{where}: signal {signal!r} has no components")
            if signal in self.component_signals[:1]:
                names = found
        if not self.component_signals and names is not None and len(names) != 1:
            raise ConstraintError(f"{where}: has one component of its own, got components {names!r}")
        when = tuple(gate.bind(offers, where) for gate in self.when)
        return dataclasses.replace(self, components=names or (self.name,), columns=columns, when=when)

    def pick(self, signals: Signals, signal: str) -> FloatArray:
        """Return the bound columns of a signal, (N, K): a view where the columns are all of them."""
        array = signals[signal]
        columns = self._columns(signal)
        return array if columns == tuple(range(array.shape[1])) else array[:, columns]

    def _columns(self, signal: str) -> tuple[int, ...]:
        if self.columns is None:
            raise ConstraintError(f"constraint {self.name!r} is not bound to a source: call bind(source.offers()) first")
        return self.columns[signal]

    def diagonal(self, signals: Signals, signal: str, slopes: FloatArray) -> FloatArray:
        """Return component-wise slopes (N, K) as a gradient (N, K, d): column k of g depends on its own column only."""
        columns = self._columns(signal)
        out = np.zeros((slopes.shape[0], len(columns), signals[signal].shape[1]))
        out[:, np.arange(len(columns)), columns] = slopes
        return out

    def to_spec(self) -> Spec:
        """Return the constraint as JSON data; ``from_spec(c.to_spec()) == c``."""
        spec: Spec = {"family": self.family}
        for f in dataclasses.fields(self):
            if f.name == "columns":
                continue
            value = getattr(self, f.name)
            if value != f.default or f.name in ("name", "limit", "unit"):
                spec[f.name] = _plain(value)
        return spec


def _plain(value: Any) -> Any:
    """JSON form of a field: tuples become lists, nested specifications become dictionaries."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value.to_spec() if hasattr(value, "to_spec") else value


def families() -> Mapping[str, type[Constraint]]:
    """Return every registered constraint family by name."""
    return dict(_FAMILIES)


def from_spec(spec: Mapping[str, Any], source: str = "constraint specification") -> Constraint:
    """Build a constraint from its JSON form.

    Args:
        spec: As `Constraint.to_spec` returns it: ``{"family": ..., "name": ..., "limit": ..., ...}``.
        source: Where the specification was read, for error messages.

    Raises:
        ConstraintError: Unknown family, unknown or missing key, or an invalid value.
    """
    if not isinstance(spec, Mapping):
        raise ConstraintError(f"{source}: expected a mapping with a 'family', got {spec!r}")
    arguments = dict(spec)
    family = arguments.pop("family", None)
    if not isinstance(family, str) or family not in _FAMILIES:
        raise ConstraintError(choose("constraint family", family, _FAMILIES, source))
    cls = _FAMILIES[family]
    fields = {f.name: f for f in dataclasses.fields(cls) if f.name != "columns"}
    where = f"{source}: constraint {arguments.get('name', family)!r}"
    for key in arguments:
        if key not in fields:
            raise ConstraintError(choose("key", key, fields, where))
    required = dataclasses.MISSING
    for key, f in fields.items():
        if f.default is required and f.default_factory is required and key not in arguments:
            raise ConstraintError(f"{where}: key {key!r} is missing")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return cls(**values)
    except ConstraintError as error:
        raise ConstraintError(f"{source}: {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ConstraintError(f"{where}: {error}") from error


def as_column(value: FloatArray) -> FloatArray:
    """Return an (N,) array as the (N, 1) column of a single-component constraint."""
    return value[:, np.newaxis]
