"""The benchmarks of `make bench`: on real servers, judged by ratios that hold on a busy machine."""
