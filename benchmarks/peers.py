"""`make bench`: ratios against peers, each in an environment of its own, side by side in one run.

    python benchmarks/peers.py [--data DIR] [--envs DIR] [--out DIR]

Writes metrics.txt, ease.txt and imports.txt. The peers are installed from the package index on first use.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

PEERS = {"ranx": ["ranx"], "rectools": ["rectools"]}
HERE = Path(__file__).parent


def environment(folder: Path, packages: list[str]) -> str:
    """The interpreter of an environment with the packages, made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        (folder / ".ready").touch()
    return str(python)


def saved(path: Path, command: list[str]) -> None:
    """Run a command, show and keep what it prints."""
    print("$", " ".join([Path(command[0]).name, *command[1:]]), flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = done.stdout + (f"\nfailed ({done.returncode}):\n{done.stderr}" if done.returncode else "")
    print(text, flush=True)
    path.write_text(text, "utf-8")


def imports(path: Path) -> None:
    """`import hexarec` and `hexarec --help` in fresh processes, medians of 7, less the bare interpreter."""
    rows = {"python -c pass": ["-c", "pass"], "import hexarec": ["-c", "import hexarec"]}
    rows["hexarec --help"] = ["-m", "hexarec.cli.main", "--help"]
    lines = []
    for name, rest in rows.items():
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run([sys.executable, *rest], capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        lines.append(f"{name}: median {statistics.median(times):.3f} s, {min(times):.3f} to {max(times):.3f}")
    print("\n".join(lines), flush=True)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    """Make the environments, run the benchmarks."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("HEXAREC_DATA", "../shared/data")
    asked.add_argument("--data", type=Path, default=Path(default), help="folder that holds ml1m_seq")
    asked.add_argument("--envs", type=Path, default=Path(".venv-peers"))
    asked.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = asked.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pythons = {name: environment(options.envs / name, packages) for name, packages in PEERS.items()}
    imports(options.out / "imports.txt")
    saved(
        options.out / "metrics.txt",
        [sys.executable, str(HERE / "metrics.py"), "--fast", "--peer-python", *pythons.values()],
    )
    movies = options.data / "ml1m_seq"
    if movies.is_dir():
        command = [sys.executable, str(HERE / "ease.py"), "--data", str(movies)]
        saved(options.out / "ease.txt", [*command, "--peer-python", pythons["rectools"]])
    else:
        print(f"no {movies}: the EASE benchmark needs MovieLens-1M sequences", flush=True)


if __name__ == "__main__":
    main()
