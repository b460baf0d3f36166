# syntax=docker/dockerfile:1
# The image holds the wedsync program, the probe for its health check, and the certificates of public authorities.
# Zone tables are compiled in. There is no shell, and the process is not root.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -pgo=cmd/wedsync/cpu.pgo -trimpath -ldflags "-s -w -X github.com/wedsync/wedsync/internal/app.Version=${VERSION}" \
      -o /out/ ./cmd/wedsync ./tools/probe

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/wedsync /out/probe /usr/local/bin/
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/wedsync"]
CMD ["help"]
