# The demo on the CPU:    docker build -t spg_lightning . && docker run --rm -v "$PWD/runs:/app/runs" spg_lightning
# With CUDA:              docker build --build-arg TORCH=cuda -t spg_lightning . && docker run --rm --gpus all ...
# Any command of one's own: docker run --rm -v "$PWD/photos:/app/photos" spg_lightning spg-train experiment=photos dataset.root=photos
FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
# cpu, or cuda: PyPI's wheels of torch bring CUDA's libraries
ARG TORCH=cpu
RUN case "$TORCH" in \
        cpu) index="--extra-index-url https://download.pytorch.org/whl/cpu" ;; \
        cuda) index="" ;; \
        *) echo "TORCH=$TORCH: choose cpu or cuda"; exit 1 ;; \
    esac && pip install --no-cache-dir --constraint constraints.txt $index .
# READY=: the package is installed already, without an environment of its own
CMD ["make", "demo", "READY=", "BIN=/usr/local/bin"]
