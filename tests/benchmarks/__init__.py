"""What `make bench` measures: on real servers, by ratios that hold on a busy machine."""
