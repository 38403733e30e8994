"""Fuzz the readers of MS-COCO files: python tests/fuzz/fuzz_coco.py -max_total_time=60."""

if __name__ == "__main__":
    from harness import fuzz

    fuzz("coco")
