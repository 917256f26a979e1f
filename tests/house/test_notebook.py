import os
import subprocess
import sys

import nbformat
import pytest

EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.mark.timeout(120)
def test_the_notebook_runs_in_the_running_loop_of_a_kernel(root, tmp_path):
    source, executed = root / "docs" / "notebooks" / "quickstart.ipynb", tmp_path / "executed.ipynb"
    command = [sys.executable, "-c", EXECUTE, str(source), str(executed)]
    environment = os.environ | {"IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(executed, as_version=4)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [sorted(output.get("data", {})) for output in shown] == [["text/html", "text/plain"]] * 2
    assert "Hello, Ada!" in shown[0].data["text/html"]
