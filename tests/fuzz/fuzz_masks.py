"""Fuzz the readers of masks and images: python tests/fuzz/fuzz_masks.py -max_total_time=60."""

if __name__ == "__main__":
    from harness import fuzz

    fuzz("masks")
