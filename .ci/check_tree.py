"""What git holds: no large file, nothing that is to be ignored, and no page that points nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LARGEST_BYTES = 1_000_000

FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def listed(*options: str) -> set[str]:
    """Files as `git ls-files` lists them, those deleted left out."""
    run = subprocess.run(["git", "ls-files", "-z", *options], check=True, capture_output=True)
    return {name for name in run.stdout.decode().split("\0") if name and Path(name).exists()}


def anchors(page: Path) -> set[str]:
    """What a link can name after "#": headings in lower case, hyphens for spaces."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path, known: set[str]) -> list[str]:
    dead = []
    text = FENCED.sub("", page.read_text())
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page.resolve()
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{page}: dead link {link}")
    # Files named in code: those with one of our folders in front.
    folders = {name.split("/")[0] for name in known if "/" in name}
    for code in CODE.findall(text):
        ours = re.fullmatch(r"([\w.]+)/[\w./-]+", code)
        if ours and ours[1] in folders and not Path(code).exists():
            dead.append(f"{page}: no file {code}")
    return dead


def main() -> int:
    known = listed("--cached", "--others", "--exclude-standard")
    ignored = listed("--cached", "--ignored", "--exclude-standard")
    wrong = [f"{name}: git is to ignore this" for name in sorted(ignored)]
    for name in sorted(known):
        file = Path(name)
        if (size := file.stat().st_size) > LARGEST_BYTES:
            wrong.append(f"{name}: {size} bytes, more than {LARGEST_BYTES}")
        if file.suffix == ".md":
            wrong += dead_links(file, known)
    print(*wrong or [f"{len(known)} files, none wrong"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
