# syntax=docker/dockerfile:1

# Everything that building takes stays in this stage.
FROM node:26-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY . .
RUN node scripts/build.js --clean \
 && rm -f dist/*.map dist/index.js dist/action.mjs* \
 && mkdir -p /out/app/fixtures \
 && cp -r package.json bin dist LICENSE /out/app/ \
 && cp -r fixtures/hello /out/app/fixtures/

# The image of module loaders, the stage "loader": some 12 MB, since every node pulls it.
FROM debian:bookworm-slim AS loader-root
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static keyutils kmod zstd \
 && rm -rf /var/lib/apt/lists/*
COPY scripts/image/loader-root.sh /
RUN sh /loader-root.sh / /out

FROM scratch AS loader
COPY --from=loader-root /out/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["sh"]

# The program. Modules can be loaded by this image, too.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static ca-certificates keyutils kmod libatomic1 libstdc++6 xz-utils zstd \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=build /out/app /app
COPY --chmod=755 scripts/gather.sh /usr/bin/gather
RUN ln -s /app/bin/kmm-sign.js /usr/local/bin/kmm-sign \
 && ln -s /app/bin/kmm-operator.js /usr/local/bin/kmm-operator
# Nothing outside TMPDIR is written, so the root file system may be read-only; the user needs no entry in passwd.
ENV HOME=/tmp
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["kmm-sign"]
