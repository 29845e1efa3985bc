"""Fixtures over the harness. A conftest.py takes them by `from fixtures import *`, with this folder
in sys.path; what cannot be had skips the test by name."""
import contextlib

import pytest

import postgresql as pg
from harness import Harness, Unavailable
from proxy import Proxy

__all__ = ['harness', 'make_harness', 'make_postgresql', 'make_proxy', 'postgresql',
           'pytest_runtest_makereport']


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call):
    """What is not available is a skip, with its name and reason."""
    if call.excinfo is not None and isinstance(call.excinfo.value, Unavailable):
        try:
            pytest.skip('%s (%s)' % (call.excinfo.value.name, call.excinfo.value.reason))
        except pytest.skip.Exception:
            call.excinfo = pytest.ExceptionInfo.from_current()


@pytest.fixture(scope='session')
def harness():
    """One for all tests of the run."""
    with Harness() as one:
        yield one


@pytest.fixture
def make_harness():
    """make_harness() gives another, closed with the test."""
    with contextlib.ExitStack() as made:
        yield lambda: made.enter_context(Harness())


@pytest.fixture(scope='session')
def postgresql(harness):
    """A server for tests that do it no harm, and work in databases of their own: database(). It
    may be somebody else's."""
    return pg.start(harness)


@pytest.fixture
def make_postgresql(make_harness):
    """make_postgresql('postgresql15', **options): a server of the test's own, never a given one."""
    def make(name='postgresql15', **options):
        return pg.start(make_harness(), name, own=True, **options)
    return make


@pytest.fixture
def make_proxy():
    """make_proxy(port): a proxy in front of it."""
    made = []

    def make(port):
        made.append(Proxy(('127.0.0.1', port)))
        return made[-1]
    yield make
    for one in made:
        one.stop()
