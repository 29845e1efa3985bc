"""Import of CSV, JSON lines and Debian's index: what is bad is named, and none of its batch is in."""
import signal
import subprocess
import time

import pytest

from cli_fixtures import POLYSTORE, packages


@pytest.fixture(params=['direct', 'daemon'])
def debs(request, tmp_path):
    folder = packages(tmp_path)
    if request.param == 'daemon':
        folder.start()
    yield folder
    folder.stop()


def count(folder):
    return folder.json('sql', 'SELECT count(*) AS n FROM packages')['rows'][0]['n']


def test_debian(debs):
    row = debs.json('get', 'packages', 'bash')['row']
    assert row['summary'] == 'GNU Bourne Again SHell'
    assert row['description'] == 'Reads commands and runs them.\n\nIt is a shell.'
    assert row['depends'] == ['base-files', 'libc6', 'musl']
    assert row['installed_size'] == 7164
    assert debs.json('get', 'packages', 'ed')['row']['version'] == '1.19'


def test_again_changes_nothing_and_says_so(debs):
    head = debs.json('status')['head']
    answer = debs.json('import', 'packages', 'Packages')
    assert (answer['read'], answer['changed'], answer['left_out']) == (4, 0, 1)
    assert debs.json('status')['head'] == head
    text = debs.good('import', 'packages', 'Packages')
    assert 'nothing changed' in text and '1 left out' in text
    debs.good('patch', 'packages', 'ed', 'summary=mine')
    assert debs.json('import', 'packages', 'Packages')['changed'] == 1


def test_csv(debs):
    name = debs.file('rows.csv', 'name,version,installed_size,summary\n'
                                 'a,1.0,7,"say ""hi"",\nnow"\nb,2.0,,\n')
    answer = debs.json('import', 'packages', name)
    assert (answer['read'], answer['changed']) == (2, 2)
    row = debs.json('get', 'packages', 'a')['row']
    assert (row['summary'], row['installed_size']) == ('say "hi",\nnow', 7)
    assert debs.json('get', 'packages', 'b')['row']['installed_size'] is None
    debs.good('import', 'packages', '-', '--format', 'csv', '--separator', '\\t',
              input='name\tversion\nc\t3\n')
    assert debs.json('get', 'packages', 'c')['row']['version'] == '3'


def test_jsonl(debs):
    name = debs.file('rows.jsonl', '{"name": "a", "version": "1", "depends": ["b"]}\n\n'
                                   '{"name": "b", "version": "2", "installed_size": 3}\n')
    assert debs.json('import', 'packages', name)['changed'] == 2
    assert debs.json('get', 'packages', 'a')['row']['depends'] == ['b']


def test_a_bad_line_is_named_and_its_batch_is_not_in(debs):
    rows = ['{"name": "n%d", "version": "1"}\n' % i for i in range(6)]
    before = count(debs)
    bad = debs.file('bad.jsonl', ''.join(rows[:5]) + '{"name": 5\n')
    error = debs.bad(2, 'import', 'packages', bad, '--batch', '2', says='bad.jsonl:6')
    assert '4 rows are in' in error
    assert count(debs) == before + 4

    # The server refuses a row: the line is named all the same.
    bad = debs.file('bad2.jsonl', rows[0] + '{"name": "x"}\n' + rows[5])
    debs.bad(2, 'import', 'packages', bad, says='line 2')
    assert count(debs) == before + 4
    bad = debs.file('bad.csv', 'name,version\na,1\nb\n')
    debs.bad(2, 'import', 'packages', bad, says='bad.csv:3')
    bad = debs.file('bad3.csv', 'name,version,installed_size\na,1,7\nb,1,x\n')
    debs.bad(2, 'import', 'packages', bad, says='line 3')
    bad = debs.file('bad.deb', 'Package: x\nVersion: 1\n\nrubbish\n')
    debs.bad(2, 'import', 'packages', bad, '--format', 'debian', says='bad.deb:4')
    assert count(debs) == before + 4
    debs.bad(3, 'import', 'packages', 'missing.csv', says='missing.csv')
    debs.bad(2, 'import', 'packages', 'Makefile', says='--format')
    debs.bad(3, 'import', 'nothing', debs.file('c.csv', 'a\n1\n'), says="'nothing'")


def test_many_rows_keep_their_order(tmp_path):
    """The same key again and again: the last one counts (one lane)."""
    folder = packages(tmp_path).start()
    text = 'name,version\n' + ''.join('same,%d\n' % i for i in range(500))
    folder.good('import', 'packages', folder.file('rows.csv', text), '--batch', '7')
    assert folder.json('get', 'packages', 'same')['row']['version'] == '499'
    folder.stop()


def test_killed_import_is_run_again(tmp_path):
    folder = packages(tmp_path).start()
    text = ''.join('Package: p%d\nVersion: 1\nDescription: number %d\n\n' % (i, i)
                   for i in range(20000))
    name = folder.file('many', text)
    process = subprocess.Popen([POLYSTORE, 'import', 'packages', name, '--format', 'debian',
                                '--batch', '50'], cwd=folder.path, env=folder.environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and count(folder) < 200:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # What the daemon had taken when the client died is still committed.
    before, now = -1, count(folder) - 4
    while before != now:
        time.sleep(0.2)
        before, now = now, count(folder) - 4
    answer = folder.json('import', 'packages', name, '--format', 'debian')
    assert answer['read'] == 20000 and answer['changed'] == 20000 - before
    assert count(folder) == 20004
    folder.stop()


def test_progress_only_on_a_terminal(debs):
    done = debs.run('import', 'packages', 'Packages')
    assert done.stderr == ''
    script = subprocess.run(['script', '-qec', '%s import packages Packages' % POLYSTORE, '/dev/null'],
                            cwd=debs.path, env=debs.environment(), capture_output=True, text=True)
    assert script.returncode == 0 and 'import [' in script.stdout
    assert '100 %' in script.stdout and ' s left' in script.stdout
    quiet = subprocess.run(['script', '-qec', '%s -q import packages Packages' % POLYSTORE, '/dev/null'],
                           cwd=debs.path, env=debs.environment(), capture_output=True, text=True)
    assert quiet.returncode == 0 and quiet.stdout == ''
