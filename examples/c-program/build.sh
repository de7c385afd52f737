#!/bin/sh
# Compiles the MNIST CNN and a C program that uses it. usage: build.sh [output folder]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/build}
node "$here/../../dist/compiler/cli/main.js" compile "$here/../models/mnist-cnn/mnist.onnx" --cpu=generic -o "$out/model"
${CC:-cc} -std=c11 -O2 -Wall -Wextra -Wno-psabi -I "$out/model" "$here/digit.c" "$out/model/mnist.c" -lm -pthread -o "$out/digit"
"$out/digit"
