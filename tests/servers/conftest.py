import os

from fixtures import *  # noqa: F401,F403

# The harness is tested with servers of its own, whatever the tests of drivers are to use.
for name in [name for name in os.environ if name.startswith('POLY_TEST_POSTGRESQL_')]:
    del os.environ[name]
