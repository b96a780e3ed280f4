"""The commands of the project's README run, with fewer events and one epoch."""

import json
import re
import shlex
from pathlib import Path

import pytest

from examples.single_pulse import evaluate, run_inference, run_pipeline_simulation, simulate, training

README = Path(__file__).resolve().parents[2] / "examples/single_pulse/README.md"
MAINS = {
    m.__name__.rpartition(".")[2]: m.main
    for m in (evaluate, run_inference, run_pipeline_simulation, simulate, training)
}


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of TensorBoard
def test_the_commands_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    for path in README.parent.glob("*.json"):
        values = json.loads(path.read_text())
        if "num_epochs" in values:
            values["num_epochs"] = 1
        (tmp_path / "work" / path.name).write_text(json.dumps(values))
    text = "\n".join(re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("python -m")]
    assert len(lines) == 6
    for line in lines:
        _, _, module, *arguments = shlex.split(line.replace("4000", "100").replace("1000", "20"))
        name = module.rpartition(".")[2]
        pipeline = tmp_path / "work/pipeline_config.json"
        values = json.loads(pipeline.read_text())
        if name.startswith("run_"):
            found = next((tmp_path / "work/checkpoints").rglob("prot-*.pth"))
            planes = "held_out_64x64.npy" if name == "run_inference" else "crab.fil"
            values |= {"name_of_the_model": found.name, "name_of_the_filterbank": planes}
            pipeline.write_text(json.dumps(values))
        assert MAINS[name](arguments) == 0, line
    assert (tmp_path / "work/recall.png").exists()
    assert (tmp_path / "work/output/predictions_crab.npy").exists()
