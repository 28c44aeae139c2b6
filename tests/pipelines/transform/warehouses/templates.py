"""Compiles the templates of dbt once in each process. Also runs in the environments of single tests."""

from types import CodeType
from typing import Any

import jinja2
from dbt_common.tests import enable_test_caching


def compile_templates_once() -> None:
    """From here on, dbt parses and compiles each template once. Otherwise, every build compiles all models and macros."""
    enable_test_caching()  # what dbt itself keeps for tests: parsed templates
    compile_template = jinja2.Environment.compile
    compiled: dict[tuple[type, str], CodeType] = {}

    def compile_once(environment: jinja2.Environment, source: Any, *arguments: Any, **options: Any) -> Any:
        if arguments or options or not isinstance(source, str) or not type(environment).__module__.startswith("dbt"):
            return compile_template(environment, source, *arguments, **options)
        key = type(environment), source
        if key not in compiled:
            compiled[key] = compile_template(environment, source)
        return compiled[key]

    jinja2.Environment.compile = compile_once  # type: ignore[assignment, method-assign]
