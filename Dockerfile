# drsvg on a CPU, with every embedded model:
#
#   docker build -t drsvg .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/clips" drsvg predict clip.mp4
#
# pip's ordinary PyTorch brings gigabytes for GPUs. --build-arg TORCH_INDEX=URL takes it from another
# index, such as that of the CPU builds, whose address PyTorch's own page tells.
FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.12-slim
ARG TORCH_INDEX=
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.13,<3"
COPY --from=build /wheel /wheel
RUN pip install --no-cache-dir /wheel/*.whl
# Models of the Hub are kept where any user may write.
ENV HF_HOME=/tmp/huggingface
USER 1000:1000
WORKDIR /clips
ENTRYPOINT ["drsvg"]
CMD ["--help"]
