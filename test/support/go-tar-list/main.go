// Lists tar archives as Go's archive/tar sees them: one JSON document per file named on the command line.
package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"os"
)

type entry struct {
	Name, Link, User, Group  string // base64
	Type                     int
	Size, Mode, UID, GID     int64
	Seconds                  int64
	Nanoseconds              int
	DeviceMajor, DeviceMinor int64
	PAX                      map[string]string // base64 to base64
	SHA256                   string
}

type listing struct {
	Entries []entry
	Error   string
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func list(path string) listing {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	result := listing{Entries: []entry{}}
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return result
		}
		if err != nil {
			result.Error = err.Error()
			return result
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		pax := map[string]string{}
		for key, value := range header.PAXRecords {
			pax[encode(key)] = encode(value)
		}
		hash := sha256.New()
		size, err := io.Copy(hash, archive)
		if err != nil {
			result.Error = err.Error()
			return result
		}
		result.Entries = append(result.Entries, entry{
			Name: encode(header.Name), Link: encode(header.Linkname), User: encode(header.Uname), Group: encode(header.Gname),
			Type: int(header.Typeflag), Size: size, Mode: header.Mode, UID: int64(header.Uid), GID: int64(header.Gid),
			Seconds: header.ModTime.Unix(), Nanoseconds: header.ModTime.Nanosecond(),
			DeviceMajor: header.Devmajor, DeviceMinor: header.Devminor, PAX: pax, SHA256: hex.EncodeToString(hash.Sum(nil)),
		})
	}
}

func main() {
	output := json.NewEncoder(os.Stdout)
	for _, path := range os.Args[1:] {
		if err := output.Encode(list(path)); err != nil {
			log.Fatal(err)
		}
	}
}
