"""Fuzz the readers of settings files: python tests/fuzz/fuzz_params.py -max_total_time=60."""

if __name__ == "__main__":
    from harness import fuzz

    fuzz("params")
