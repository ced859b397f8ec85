# syntax=docker/dockerfile:1

# The images of the program (the last stage) and of module loaders ("loader"). Releases make the stages "system", "application"
# and "loader-root" by the same scripts outside, and pass them as build contexts (scripts/release/images.js): they pull no image.

# What the files are made in; nothing of it gets into the images. Pin its digest with
# --build-arg NODE_IMAGE=docker.io/library/node@sha256:… The version is that of scripts/image/node.json.
ARG NODE_IMAGE=node:26.10.0-bookworm-slim

FROM ${NODE_IMAGE} AS system
ARG TARGETARCH=amd64
# Debian's packages: those of scripts/image/packages.json, or "latest" for what the archive has today.
ARG PACKAGES=pinned
WORKDIR /src
COPY scripts/image scripts/image
RUN node scripts/image/system.js --arch=$TARGETARCH --packages=$PACKAGES --output=/out

FROM ${NODE_IMAGE} AS application
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY . .
RUN node scripts/image/application.js --output=/out

FROM system AS loader-root
RUN mv /out /system && sh scripts/image/loader-root.sh /system /out

# Some 12 MB, since every node pulls it.
FROM scratch AS loader
COPY --from=loader-root /out/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["sh"]

# Modules can be loaded by this image, too. Nothing outside TMPDIR is written, so the root file system may be read-only; the user
# needs no entry in passwd. Nobody would read compiled code that a container writes.
FROM scratch AS program
COPY --from=system /out/ /
COPY --from=application /out/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp NODE_DISABLE_COMPILE_CACHE=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["kmm-sign"]
