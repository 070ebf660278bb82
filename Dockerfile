# The operator and the command line: two bundles, the Node of package-lock.json, and the C library that Node needs.
# Both bases are arguments, so that the image also builds where Docker Hub cannot be reached (make image).

# Needs npm, any Node and a shell.
ARG BUILD_IMAGE=docker.io/library/node:24-bookworm-slim
# Needs the C and C++ libraries of a Debian 12 or newer.
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error --ignore-scripts=false
COPY esbuild.mjs tsconfig.json ./
COPY operator operator
ARG VERSION=
ARG REVISION=unknown
RUN npm run build

FROM ${BASE_IMAGE}
COPY --from=build /src/node_modules/node/bin/node /usr/local/bin/node
COPY --from=build /src/dist/operator.mjs /src/dist/slipway.mjs /opt/slipway/
# Lookups of names block a thread each, and several registries may have slow ones. One arena of the C library instead of
# one per core, because freed memory stays in each. A small nursery and a bounded heap, because Node lets it grow far
# beyond what is alive before it collects: 10,000 policies need some 110 MiB.
ENV NODE_ENV=production UV_THREADPOOL_SIZE=16 MALLOC_ARENA_MAX=1 \
    NODE_OPTIONS="--max-semi-space-size=4 --max-old-space-size=256"
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/node", "/opt/slipway/operator.mjs"]
