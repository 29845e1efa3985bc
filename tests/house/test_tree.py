"""What holds for the tree as a whole and fits no rule of tools/check."""
import glob
import os
import re

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))


def text(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def test_the_daemon_knows_operations_by_their_flags():
    """A new operation is an entry in one table: nothing in src/server goes by its name."""
    names = re.findall(r'^        \.name = "([a-z]+\.[a-z]+)"', text('src/api/operations.c')
                       + text('src/api/operations_vectors.h'), re.M)
    assert len(names) > 25
    for path in glob.glob(os.path.join(ROOT, 'src/server/*.[ch]')):
        said = set(re.findall(r'"([^"\n]*)"', text(path)))
        assert not said & set(names), path
