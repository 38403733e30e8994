"""The thin commands that DVC's stages and the Makefile call."""

import sys

# nbformat imports jsonschema, and that a checker of IRIs, where JupyterLab brought it: it compiles
# a grammar for 2 s, in every stage, for a format that no notebook has. None makes its import an
# ImportError, which jsonschema expects.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
