"""``doppel key new``: a new API key, told once, and the line by which a server knows it."""

import sys
from collections.abc import Mapping, Sequence

from app.keys import digest_of, new_secret, read_line, require_name


def new_key(name: str, scopes: Sequence[str], limits: Mapping[str, str | None]) -> int:
    """Draw a key and print it; the exit status.

    The line goes to standard output, so that ``>> FILE`` adds it to a key file, the secret to standard error.

    Args:
        limits: as the line has them; None: no limit.

    Raises:
        Invalid: the name, a scope or a limit can't be used.
    """
    require_name(name)
    secret = new_secret()
    words = [name, f"sha256:{digest_of(secret.encode()).hex()}", f"scopes={','.join(dict.fromkeys(scopes))}"]
    line = " ".join(words + [f"{limit}={value}" for limit, value in limits.items() if value is not None])
    read_line(line)
    print(f"The key of {name}, which is shown this once; a server keeps its hash:\n\n  {secret}\n", file=sys.stderr)
    if sys.stdout.isatty():
        print("The line for the file that DOPPEL_API_KEYS_FILE names:\n")
    print(line)
    return 0
