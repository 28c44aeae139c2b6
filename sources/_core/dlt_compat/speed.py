"""What dlt computes again and again in a run, computed once."""

import copy
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

from dlt.common import validation
from dlt.common.configuration.specs.base_configuration import BaseConfiguration
from dlt.common.schema import Schema
from dlt.common.schema import utils as schema_utils


def speed_up_dlt() -> None:
    """Applies the four changes below to dlt in this process; a second call changes nothing."""
    cache_type_hints()
    cache_field_counts()
    copy_schemas_as_json()
    hash_schemas_once()


def cache_type_hints() -> None:
    """Makes dlt read the type hints of each class once; a second call changes nothing.

    dlt evaluates them anew for every object of every schema that it validates: a tenth of a run of one provider.
    """
    evaluate = validation.get_type_hints  # type: ignore[attr-defined]
    if not isinstance(evaluate, partial):
        validation.get_type_hints = partial(_type_hints, evaluate, {})  # type: ignore[attr-defined]


def _type_hints(evaluate: Callable[..., Any], known: dict[type, Any], spec: type, globalns: Any = None) -> Any:
    if spec not in known:
        known[spec] = evaluate(spec, globalns=globalns)
    return known[spec]


def hash_schemas_once() -> None:
    """Makes dlt compute the hash of a schema once when it reads it; a second call changes nothing.

    dlt's property computes it twice, 230 times in a run of four providers: a fiftieth of a run without new data.
    """
    Schema.version_hash = property(_version_hash)  # type: ignore[assignment, method-assign]


def _version_hash(schema: Schema) -> str:
    return schema.to_dict()["version_hash"]


def copy_schemas_as_json() -> None:
    """Makes dlt copy the tables of a schema without `copy.deepcopy`; a second call changes nothing.

    dlt copies a table 600 times in a run of four providers. `deepcopy` spends most of its time on shared references,
    and schemas are JSON, which has none.
    """
    schema_utils.deepcopy = copy_json  # type: ignore[assignment, attr-defined]


def copy_json(value: Any) -> Any:
    """A deep copy of a JSON value; any other value in it is copied by `copy.deepcopy`."""
    kind = type(value)
    if kind is dict:
        return {name: copy_json(item) for name, item in value.items()}
    if kind is list:
        return [copy_json(item) for item in value]
    return value if kind in (str, bool, int, type(None)) else copy.deepcopy(value)


def cache_field_counts() -> None:
    """Makes dlt count the fields of each class of settings once; a second call changes nothing.

    dlt tests three thousand times in a run whether such an object is truthy, and Python then calls its `__len__`.
    """
    measure = BaseConfiguration.__len__
    if not hasattr(measure, "sizes"):
        sizes: dict[type, int] = {}

        def length(settings: BaseConfiguration) -> int:
            kind = type(settings)
            if kind not in sizes:
                sizes[kind] = measure(settings)
            return sizes[kind]

        length.sizes = sizes  # type: ignore[attr-defined]
        BaseConfiguration.__len__ = length  # type: ignore[method-assign]


def cache_capabilities(destination: Any) -> Any:
    """The same destination, which computes the capabilities of its own configuration only once.

    dlt resolves the destination's configuration each time it reads the capabilities.
    """
    compute: Callable[..., Any] = destination.capabilities
    known: dict[Any, Any] = {}

    def capabilities(config: Any = None, naming: Any = None) -> Any:
        if config is not None:
            return compute(config, naming)
        name = naming and (type(naming), naming.max_length)
        if name not in known:
            known[name] = compute(config, naming)
        return copy.copy(known[name])  # dlt changes the object that it gets

    destination.capabilities = update_wrapper(partial(capabilities), compute)
    return destination
