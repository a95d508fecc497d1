"""The image of the Dockerfile, built and run on this machine, with or without a Docker engine."""
