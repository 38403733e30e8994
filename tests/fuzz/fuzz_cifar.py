"""Fuzz the readers of CIFAR-10 files: python tests/fuzz/fuzz_cifar.py -max_total_time=60."""

if __name__ == "__main__":
    from harness import fuzz

    fuzz("cifar")
