"""Fuzz the readers of IDX files: python tests/fuzz/fuzz_idx.py -max_total_time=60."""

if __name__ == "__main__":
    from harness import fuzz

    fuzz("idx")
