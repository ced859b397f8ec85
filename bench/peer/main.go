// Command reference-signer is what `npm run bench` compares with when KMM's own signer is not at hand.
//
// It is our own program, built on the design of the signer of KMM 1.x ("signimage"): every layer is downloaded and
// inflated from the top down, each file that was asked for goes to a temporary directory and through one process of
// the kernel's sign-file, and all of them are appended to the image as one layer whose tar is collected in memory.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type options struct {
	source, destination, files, key, certificate, signFile string
}

func main() {
	var given options
	flag.StringVar(&given.source, "source", "", "image to sign")
	flag.StringVar(&given.destination, "destination", "", "signed image to write")
	flag.StringVar(&given.files, "files", "", "absolute paths of the modules, separated by colons")
	flag.StringVar(&given.key, "key", "", "private key, PEM")
	flag.StringVar(&given.certificate, "cert", "", "certificate, PEM or DER")
	flag.StringVar(&given.signFile, "sign-file", "/usr/local/bin/sign-file", "the kernel's sign-file")
	flag.Parse()
	if err := run(given); err != nil {
		fmt.Fprintln(os.Stderr, "reference-signer:", err)
		os.Exit(1)
	}
}

func run(given options) error {
	scratch, err := os.MkdirTemp("", "reference-signer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)

	source, err := name.ParseReference(given.source, name.Insecure)
	if err != nil {
		return err
	}
	destination, err := name.ParseReference(given.destination, name.Insecure)
	if err != nil {
		return err
	}
	descriptor, err := remote.Get(source, remote.WithAuth(authn.Anonymous))
	if err != nil {
		return err
	}
	image, err := descriptor.Image()
	if err != nil {
		return err
	}
	signed, err := signFiles(image, scratch, given)
	if err != nil {
		return err
	}
	layerFile, err := packLayer(signed, scratch)
	if err != nil {
		return err
	}
	result, err := appendLayer(image, layerFile)
	if err != nil {
		return err
	}
	return remote.Write(destination, result, remote.WithAuth(authn.Anonymous))
}

// signFiles walks all layers from the top down and returns, for each path, the signed copy in the scratch directory.
func signFiles(image v1.Image, scratch string, given options) (map[string]string, error) {
	missing := map[string]bool{}
	for _, file := range strings.Split(given.files, ":") {
		missing[file] = true
	}
	signed := map[string]string{}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	for index := len(layers) - 1; index >= 0; index-- {
		err := walkLayer(layers[index], func(header *tar.Header, content io.Reader) error {
			file := path.Clean("/" + header.Name)
			if !missing[file] {
				return nil
			}
			copied := filepath.Join(scratch, header.Name)
			if err := extract(copied, header.Size, content); err != nil {
				return err
			}
			command := exec.Command(given.signFile, "sha256", given.key, given.certificate, copied)
			if output, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: sign-file: %s: %w", file, output, err)
			}
			delete(missing, file)
			signed[file] = copied
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for file := range missing {
		return nil, fmt.Errorf("%s is not in the image", file)
	}
	return signed, nil
}

func walkLayer(layer v1.Layer, visit func(*tar.Header, io.Reader) error) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	reader := tar.NewReader(content)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(header, reader); err != nil {
			return err
		}
	}
}

func extract(file string, size int64, content io.Reader) error {
	body := make([]byte, size)
	if _, err := io.ReadFull(content, body); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o770); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o700)
}

func packLayer(signed map[string]string, scratch string) (string, error) {
	var packed bytes.Buffer
	writer := tar.NewWriter(&packed)
	for file, copied := range signed {
		body, err := os.ReadFile(copied)
		if err != nil {
			return "", err
		}
		header := &tar.Header{Name: file, Mode: 0o700, Size: int64(len(body))}
		if err := writer.WriteHeader(header); err != nil {
			return "", err
		}
		if _, err := writer.Write(body); err != nil {
			return "", err
		}
	}
	if err := writer.Close(); err != nil {
		return "", err
	}
	layerFile := filepath.Join(scratch, "layer.tar")
	return layerFile, os.WriteFile(layerFile, packed.Bytes(), 0o600)
}

func appendLayer(image v1.Image, layerFile string) (v1.Image, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	mediaType, err := layers[len(layers)-1].MediaType()
	if err != nil {
		return nil, err
	}
	// Compressed once and kept, instead of once for the digest and once for the upload; at kmm-sign's level.
	layer, err := tarball.LayerFromFile(layerFile, tarball.WithMediaType(mediaType), tarball.WithCompressedCaching,
		tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, err
	}
	result, err := mutate.AppendLayers(image, layer)
	if err != nil {
		return nil, err
	}
	imageType, err := image.MediaType()
	if err != nil {
		return nil, err
	}
	return mutate.MediaType(result, imageType), nil
}
