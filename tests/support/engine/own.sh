#!/bin/sh
# The first process of the engine's own namespaces of processes and mounts: everything ends with it, also all mounts.
# own.sh ROOT FOLDER PROJECT NAME: ROOT is the file system with the engine (it is not written), FOLDER takes what the
# engine writes, PROJECT is visible at its own path, as docker-compose.yml mounts files of it. NAME is that of the
# control group.
set -eu
root=$1 folder=$2 project=$3 name=$4
mount --make-rprivate /
mkdir "$folder/changes" "$folder/work" "$folder/root" "$folder/data" "$folder/run"
mount -t overlay -o "lowerdir=$root,upperdir=$folder/changes,workdir=$folder/work" overlay "$folder/root"
cd "$folder/root"
cp --dereference /etc/resolv.conf etc/resolv.conf
mkdir --parents "./$project" var/lib/docker .machine
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount --bind "$folder/run" run
mount --bind "$folder/data" var/lib/docker
mount --bind "$project" "./$project"
# An engine behind a company's proxy pulls with the company's certificate.
mount --bind /etc/ssl/certs etc/ssl/certs
pivot_root . .machine
cd /
mount --make-rslave .machine
umount -l .machine
echo nameserver 10.0.2.3 >/run/resolv.conf
# The engine has a network of its own, with published ports, bridges and packet filters that nothing else sees.
unshare --net --mount sh -c '
  mount --bind /run/resolv.conf /etc/resolv.conf
  mount --make-rshared /
  ip link set lo up
  exec dockerd --bip 10.213.0.1/24 --default-address-pool base=10.214.0.0/16,size=24 \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$1"' sh "$name" &
engine=$!
until [ "$(readlink "/proc/$engine/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do
  sleep 0.05
done
# The way out of that network; 10.0.2.3 asks the name server of the machine.
slirp4netns --configure --mtu=65520 --disable-host-loopback "$engine" tap0 &
wait "$engine"
