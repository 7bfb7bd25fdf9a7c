package rows

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"iter"
)

func readNDJSON(r io.Reader) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		lines := bufio.NewReaderSize(r, 64<<10)
		var number int64
		for line := int64(1); ; line++ {
			text, err := readLine(lines)
			if err != nil && !errors.Is(err, io.EOF) {
				if errors.Is(err, bufio.ErrTooLong) {
					err = tableError("line %d is longer than %d MiB", line, MaxRow>>20)
				}
				yield(Row{}, err)
				return
			}
			if text = bytes.TrimSpace(text); len(text) > 0 {
				number++
				if !yield(objectRow(text, number, line), nil) {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
}

// readLine reads up to and with the end of the line; io.EOF comes together with the last one.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > MaxRow {
			return nil, bufio.ErrTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func objectRow(text []byte, number, line int64) Row {
	row := Row{Number: number, Line: line}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var members map[string]any
	err := d.Decode(&members)
	if err == nil && d.More() {
		err = errors.New("more than one value on the line")
	}
	switch {
	case err != nil:
		row.Fault = "not JSON: " + err.Error()
		row.fields = rawText{line: string(text)}
	case members == nil:
		row.Fault = "null is not an object"
	default:
		row.fields = objectFields(members)
	}
	return row
}
