"""Help of every verb, its examples, and what is printed from the same tables."""
import os
import re
import shutil
import subprocess

import pytest

from cli_fixtures import INDEX, POLYSTORE, ROOT, Folder, packages


def verbs_of(text):
    part = re.search(r'\nVerbs:\n((?:  .*\n)+)', text)
    return re.findall(r'^  (\w+) ', part.group(1), re.M) if part else []


def printed(*words):
    done = subprocess.run([POLYSTORE, *words], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and done.stderr == '', (words, done.stderr)
    return done.stdout


def all_verbs():
    found = []
    for verb in verbs_of(printed('--help')):
        subs = verbs_of(printed(verb, '--help'))
        found += [(verb, sub) for sub in subs] or [(verb,)]
    return found


def examples_of(text):
    part = re.search(r'\nExamples:\n((?:  .*\n)+)', text)
    return [line[2:] for line in part.group(1).splitlines() if not line.startswith('  #')] \
        if part else []


def test_verbs_of_the_contract_are_there():
    top = set(verbs_of(printed('--help')))
    assert {'init', 'status', 'migrate', 'get', 'put', 'delete', 'list', 'sql', 'append', 'events',
            'log', 'search', 'vector', 'subscribe', 'import', 'rebuild', 'projection', 'key', 'config',
            'completion', 'version', 'help'} <= top


def test_help_of_every_verb_has_an_example():
    for verb in all_verbs():
        text = printed(*verb, '--help')
        assert text.startswith('Usage: polystore ' + ' '.join(verb)), verb
        assert examples_of(text), verb
        assert printed('help', *verb) == text
        assert max(len(line) for line in text.splitlines()) <= 140


def letters_of(text):
    return re.findall(r'^  -(\w), --', text, re.M)


def test_no_letter_means_two_things():
    shared = letters_of(printed('--help'))
    assert {'c', 'd', 't', 'h'} <= set(shared)
    for verb in all_verbs():
        letters = shared + letters_of(printed(*verb, '--help'))
        assert len(set(letters)) == len(letters), (verb, letters)


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp('examples') / 'packages'
    path.mkdir()
    folder = packages(path)
    lines = ['{"key": "%s", "vector": [%s]}' % (name, ','.join(['1', str(n)] + ['0'] * 98))
             for n, name in enumerate(['bash', 'dash', 'emacs'])]
    folder.good('vector', 'import', 'packages', '--patch', folder.file('v.jsonl', '\n'.join(lines)))
    return folder


def test_every_example_works_when_pasted(prepared, tmp_path):
    """In a copy of the same folder each; 'apt-cache dumpavail' is a small index here."""
    tools = tmp_path / 'bin'
    tools.mkdir()
    (tools / 'apt-cache').write_text('#!/bin/sh\ncat <<"END"\n%s\nEND\n' % INDEX)
    (tools / 'apt-cache').chmod(0o755)
    for number, verb in enumerate(all_verbs()):
        for at, command in enumerate(examples_of(printed(*verb, '--help'))):
            copy = tmp_path / ('%d-%d' % (number, at))
            shutil.copytree(prepared.path, copy)
            folder = Folder(copy)
            folder.good('append', 'order-1', 'OrderPlaced')
            folder.good('subscribe', '--name', 'mailer', '--limit', '1')
            env = folder.environment()
            env['PATH'] = '%s:%s' % (tools, env['PATH'])
            done = subprocess.run(['bash', '-ec', command], cwd=copy, env=env, text=True,
                                  capture_output=True, timeout=30)
            # A projection that has not stopped can be neither retried nor skipped; no embedder
            # has refused anything here.
            wanted = 5 if verb[0] == 'projection' else 3 if verb[-1] in ('refused', 'retry') else 0
            assert done.returncode == wanted, (command, done.stdout, done.stderr)


def test_docs_are_current():
    with open(os.path.join(ROOT, 'docs/cli.md')) as file:
        assert file.read() == printed('help', '--markdown'), \
            'run: build/src/cli/polystore help --markdown > docs/cli.md'


def test_man_page(tmp_path):
    page = tmp_path / 'polystore.1'
    page.write_text(printed('help', '--man'))
    if shutil.which('man') is None:
        pytest.skip('man is not installed')
    done = subprocess.run(['man', '--warnings', '-l', str(page)], capture_output=True, text=True,
                          env=dict(os.environ, MANWIDTH='80', LC_ALL='C.UTF-8'))
    assert done.returncode == 0 and 'warning' not in done.stderr, done.stderr
    for verb in all_verbs():
        assert ' '.join(verb) in done.stdout


def complete(*words):
    script = '%s\nCOMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _polystore\n' \
             'printf "%%s\\n" "${COMPREPLY[@]}"' % (
                 printed('completion', 'bash'), ' '.join("'%s'" % word for word in words))
    done = subprocess.run(['bash', '-uc', script], capture_output=True, text=True, cwd='/')
    assert done.returncode == 0 and done.stderr == '', done.stderr
    return done.stdout.split()


def test_completion():
    assert complete('polystore', 'mi') == ['migrate']
    assert complete('polystore', 'migrate', 'v') == ['verify']
    assert complete('polystore', 'migrate', 'up', '--fo') == ['--folder']
    assert complete('polystore', 'get', '--consistency', 'f') == ['fail']
    assert complete('polystore', '--data', 'x', 'migrate', 'v') == ['verify']
    assert complete('polystore', 'list', '--wh') == ['--where']
    assert '--json' in complete('polystore', 'status', '--')
    done = subprocess.run([POLYSTORE, 'completion', 'fish'], capture_output=True)
    assert done.returncode == 10


def test_wrong_use_is_2_and_one_line(tmp_path):
    folder = Folder(tmp_path)
    for words in (['nothing'], ['get'], ['get', 'a'], ['get', 'a', 'b', 'c'], ['status', '--nothing'],
                  ['migrate'], ['migrate', 'nothing'], ['--nothing'], ['list'], ['help', 'nothing'],
                  ['put', 'a', 'b'], ['key', 'revoke'], ['import', 'a'], ['status', '--data']):
        folder.bad(2, *words)
    done = folder.run()
    assert done.returncode == 2 and done.stdout.startswith('Usage:')


def test_version():
    assert re.fullmatch(r'polystore \d+\.\d+\.\d+\n', printed('version'))
