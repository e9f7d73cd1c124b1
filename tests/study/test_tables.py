import pandas as pd

from paper_lib.study import tables

FRAME = pd.DataFrame({'agent': ['a_b', 'c|d'], 'value': [0.123456, float('nan')], 'n': [5, 1200]})


def test_markdown():
    assert (
        tables.markdown(FRAME)
        == '| agent | value | n |\n| --- | --- | --- |\n| a_b | 0.1235 | 5 |\n| c\\|d |  | 1200 |\n'
    )


def test_latex_escapes_and_has_one_row_per_line():
    lines = tables.latex(FRAME).splitlines()
    assert lines[0] == r'\begin{tabular}{lll}'
    assert lines[4] == r'a\_b & 0.1235 & 5 \\'
    assert lines[-1] == r'\end{tabular}'


def test_save_writes_three_files(tmp_path):
    tables.save(FRAME, tmp_path / 'deep' / 'table', 'Of 5 seeds.')
    assert sorted(path.name for path in (tmp_path / 'deep').iterdir()) == ['table.csv', 'table.md', 'table.tex']
    assert (tmp_path / 'deep' / 'table.md').read_text() == f'{tables.markdown(FRAME)}\nOf 5 seeds.\n'
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / 'deep' / 'table.csv'), FRAME)


def test_a_notebook_shows_whole_texts_escaped():
    frame = pd.DataFrame({'claim': ['<b> ' + 'long ' * 40], 'low': [0.123456]})
    shown = tables.Table(frame, 'n < 5\n\nbins 63')._repr_html_()
    assert '&lt;b&gt; ' + 'long ' * 40 in shown
    assert '>0.1235<' in shown
    assert shown.endswith(
        '<p>n &lt; 5</p><details><summary>How the runs are made, and what differs from v1</summary>bins 63</details>'
    )
