"""tools/check finds what it is there to find: each rule once broken, in a small tree of its own.
tools/prove counts what test programs say."""
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess

import pytest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))

GOOD = {
    'src/base/limits.h': '#ifndef POLY_BASE_LIMITS_H\n#define POLY_BASE_LIMITS_H\n'
                         '#define POLY_MAX_NAME (2 * 64) /* bytes */\n#endif\n',
    'docs/limits.md': '| `POLY_MAX_NAME` | 128 | bytes |\n',
    'include/polystore/status.h': '#ifndef POLYSTORE_STATUS_H\n#define POLYSTORE_STATUS_H\n'
                                  'X(OK, 200, 0, "done")\n#endif\n',
    'docs/errors.md': '| `OK` | 200 | 0 | done |\n',
    'src/core/a.c': '#include "base/limits.h"\n\nint a(int b)\n{\n    return b;\n}\n',
    'src/core/b.c': 'char name[POLY_MAX_NAME];\n',
}


@pytest.fixture
def tree(tmp_path):
    def make(**changes):
        files = dict(GOOD, **{name.replace('__', '/').replace('_dot_', '.'): text
                              for name, text in changes.items()})
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / 'tools').mkdir()
        shutil.copy(os.path.join(ROOT, 'tools', 'check'), tmp_path / 'tools' / 'check')
        done = subprocess.run([str(tmp_path / 'tools' / 'check')], text=True, capture_output=True)
        return done.returncode, done.stdout
    return make


def test_a_good_tree_is_good(tree):
    assert tree() == (0, 'tools/check: nothing found\n')


LONG = 'int a(int b)\n{\n' + '    b++;\n' * 61 + '    return b;\n}\n'
BROKEN = [
    ('src__core__a_dot_c', '#include "stores/search/query.h"\n', 'includes go down only'),
    ('src__stores__search__a_dot_c', '#include "stores/events/driver.h"\n', 'another store'),
    ('src__cli__a_dot_c', '#include "core/log.h"\n', 'only polystore.h'),
    ('src__server__a_dot_c', '#include "polystore/log.h"\n', 'only polystore.h'),
    ('src__core__a_dot_c', LONG, "'a' has 62 lines"),
    ('src__core__a_dot_c', 'int a(int b, int c, int d,\n      int e, int f, int g, int h)\n{\n}\n',
     "'a' has 7 parameters"),
    ('src__core__a_dot_c', '\n' * 801, '801 lines'),
    ('src__core__a_dot_c', '/* %s */\n' % ('x' * 100), '106 columns'),
    ('src__core__a_dot_c', 'int a(void)\n{\n    return atoi("1");\n}\n', "'atoi' is banned"),
    ('src__core__a_dot_c', '/* %s: later */\n' % ('TO' + 'DO'), 'do it, or leave it out'),
    ('src__core__a_dot_h', '#ifndef A_H\n#define A_H\n#endif\n', 'guard is not POLY_CORE_A_H'),
    ('docs__limits_dot_md', '| `POLY_MAX_NAME` | 129 | bytes |\n', 'is 128, not 129'),
    ('docs__limits_dot_md', '\n', 'POLY_MAX_NAME (src/base/limits.h) is not documented'),
    ('src__core__b_dot_c', '/* nothing */\n', 'POLY_MAX_NAME limits nothing'),
    ('docs__errors_dot_md', '| `OK` | 200 | 1 | done |\n', 'OK is not documented'),
    ('README_dot_md', 'see [this](docs/gone.md)\n', "link to 'docs/gone.md'"),
    ('README_dot_md', 'see [this](docs/errors.md#gone)\n', 'no such heading'),
    ('ARCHITECTURE_dot_md', 'see `src/core/gone.c`\n', "'src/core/gone.c' is not there"),
]


@pytest.mark.parametrize('name,text,finding', BROKEN)
def test_a_broken_rule_is_found(tree, name, text, finding):
    code, said = tree(**{name: text})
    assert code == 1
    assert finding in said


@pytest.mark.parametrize('text', [
    '/* strcpy( in a comment, and "atoi(" too */\n',
    'const char *a = "system(x)";\n',
    'int my_system(int);\nint b(void)\n{\n    return my_system(1);\n}\n',
    'int a(int (*b)(int, int, int), int c, int d, int e, int f, int g)\n{\n    return c;\n}\n',
])
def test_what_only_looks_broken_is_left_alone(tree, text):
    assert tree(src__core__a_dot_c=text)[0] == 0


def prove():
    loader = importlib.machinery.SourceFileLoader('prove', os.path.join(ROOT, 'tools', 'prove'))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader('prove', loader))
    loader.exec_module(module)
    return module


def test_a_step_that_is_not_there_is_named(capsys):
    assert prove().main(['--help']) == 2
    assert 'no step is named --help; there are: gcc check tests' in capsys.readouterr().out


def test_only_old_folders_of_tests_that_nobody_uses_are_removed(tmp_path):
    names = ['polystore-test-gone', 'polystore-test-used', 'polystore-test-young', 'mine']
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / 'log').write_text('x')
        if not name.endswith('young'):
            os.utime(tmp_path / name, (1, 1))
    with open(tmp_path / 'polystore-test-used' / 'log'):
        prove().sweep([str(tmp_path), str(tmp_path / 'nowhere')], 3600)
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


CMOCKA = '[==========] Running 3 test(s).\n[  PASSED  ] 2 test(s).\n' \
         '[  SKIPPED ] 0 test(s).\n[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] x\n'
PYTEST = '==== 1 failed, 12 passed, 2 skipped, 1 error in 3.21s ====\n'


@pytest.mark.parametrize('result,text,counts', [
    ('FAIL', CMOCKA, (2, 1, 0)),
    ('FAIL', PYTEST, (12, 2, 2)),
    ('OK', '12 passed, 1 warning in 0.10s\n', (12, 0, 0)),
    ('OK', 'SKIPPED [1] tests/a.py:7: no network\n3 passed, 1 skipped in 0.1s\n', (3, 0, 1)),
    ('OK', '', (1, 0, 0)),
    ('FAIL', '[  PASSED  ] 3 test(s).\nLeakSanitizer: detected memory leaks\n', (3, 1, 0)),
    ('TIMEOUT', '', (0, 1, 0)),
    ('SKIP', 'skipped: servers (no PostgreSQL)\n', (0, 0, 1)),
    ('OK', '[  PASSED  ] 3 test(s).\nskipped: inotify (not here)\n', (3, 0, 1)),
])
def test_results_are_counted(result, text, counts):
    module = prove()
    tally = module.Tally()
    module.count_test('tests', {'name': 'x', 'result': result, 'stdout': text, 'stderr': ''}, tally)
    assert (tally.passed, tally.failed, tally.skipped) == counts
