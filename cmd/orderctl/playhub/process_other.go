//go:build !unix

package playhub

import "os/exec"

func leadGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func askGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
