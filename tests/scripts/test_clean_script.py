"""scripts/clean.py lists and removes what stopped runs left, and nothing else."""

from tlkeras.io.locks import locked


def test_what_stopped_runs_left(call, tmp_path):
    assert call("clean.py").out == "Stopped runs left nothing in saved_models.\n"
    runs = tmp_path / "saved_models"
    for path in (
        ".pets.partial/log.txt", ".pets.partial/checkpoints/000003-0.npz", ".dogs.partial/log.txt",
        ".cats.replaced-7/config.yaml", "cats/config.yaml", ".dogs.lock",
        # Not of stopped runs, or the only copy of what was there before.
        ".mine.partial/thesis.txt", "pets-2/model.keras", ".git/config", ".birds.replaced-8/config.yaml",
        ".busy.partial/log.txt",
    ):  # fmt: skip
        (runs / path).parent.mkdir(parents=True, exist_ok=True)
        (runs / path).write_text("")
    before = {path.name for path in runs.iterdir()}
    with locked(runs / ".busy.lock", "it"):
        listed = call("clean.py")
        assert listed.out.splitlines() == [
            "saved_models/.cats.replaced-7: the run that saved_models/cats replaced",
            "saved_models/.dogs.lock: lock of a run that was killed",
            "saved_models/.dogs.partial: unfinished run, 0.0 MB, not resumable",
            "saved_models/.pets.partial: unfinished run, 0.0 MB, saved 3 times, --run-dir saved_models/pets --resume "
            "resumes it",
            "Give --remove to remove them.",
        ]
        assert call("clean.py", runs, "--remove").out.endswith("Removed 4.\n")
    gone = {".cats.replaced-7", ".dogs.lock", ".dogs.partial", ".pets.partial"}
    assert {path.name for path in runs.iterdir()} == before - gone
    assert call("clean.py", "nowhere").code == 2
