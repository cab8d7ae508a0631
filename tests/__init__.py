import os

if "SHARDQ_TESTS_CORE" in os.environ:
    from tests.support.compiled_core import use_chosen

    use_chosen()
