// transitd serves the transit secrets engine of HashiCorp Vault itself (its Go package, the crypto and the answers are theirs)
// over HTTP: what a client of transit meets in a Vault server, without seals, policies and a store on disk.
//
//	transitd TOKEN KEY      prints the port, makes the key, ends with its standard input
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	log "github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/logical"
)

type server struct {
	backend logical.Backend
	storage logical.Storage
	token   string
}

func (s *server) call(op logical.Operation, path string, data map[string]interface{}) (*logical.Response, error) {
	return s.backend.HandleRequest(context.Background(), &logical.Request{
		Operation: op, Path: path, Data: data, Storage: s.storage, MountPoint: "transit/"})
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := func(status int, body interface{}) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	if r.Header.Get("X-Vault-Token") != s.token {
		answer(403, map[string][]string{"errors": {"permission denied"}})
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/transit/")
	if !ok {
		answer(404, map[string][]string{"errors": {"no handler for route"}})
		return
	}
	data := map[string]interface{}{}
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber()
	if err := decoder.Decode(&data); err != nil && err != io.EOF {
		answer(400, map[string][]string{"errors": {err.Error()}})
		return
	}
	response, err := s.call(logical.UpdateOperation, path, data)
	if err != nil || (response != nil && response.IsError()) {
		if response != nil && response.IsError() {
			err = response.Error()
		}
		answer(400, map[string][]string{"errors": {err.Error()}})
		return
	}
	if response == nil {
		w.WriteHeader(204)
		return
	}
	answer(200, map[string]interface{}{"request_id": "1", "lease_id": "", "renewable": false, "data": response.Data})
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	config := &logical.BackendConfig{
		Logger:      log.NewNullLogger(),
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: time.Hour},
		StorageView: &logical.InmemStorage{},
	}
	backend, err := transit.Factory(context.Background(), config)
	must(err)
	s := &server{backend, config.StorageView, os.Args[1]}
	_, err = s.call(logical.UpdateOperation, "keys/"+os.Args[2], map[string]interface{}{"type": "aes256-gcm96"})
	must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() { must(http.Serve(listener, s)) }()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
}
