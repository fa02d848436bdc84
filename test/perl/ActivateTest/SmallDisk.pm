# ActivateTest::SmallDisk: a file system of a few megabytes, for a tablespace that can be filled to the last byte.
#
#	use ActivateTest::SmallDisk;                    # the first of all: the script starts again where it may mount
#	my $disk = ActivateTest::SmallDisk->new(24) or plan skip_all => ActivateTest::SmallDisk::missing();
#	$disk->folder('tablespace');                    # an empty folder of it
#	$disk->fill; $disk->empty;                      # no room; room again
#
# Mounting needs root, and PostgreSQL wants an ordinary user: in a user and mount namespace of its own the script is
# both.  What is mounted there is gone with its last process.
package ActivateTest::SmallDisk;

use strict;
use warnings;

my $missing = '';

# What it takes, tried: with an exec that fails nobody would be left to tell.
sub import
{
	return if $ENV{ACTIVATE_TEST_MOUNTS};
	my @unshare = qw(unshare --map-current-user --mount --keep-caps);
	my $said    = qx{@unshare sh -c 'mount -t tmpfs -o size=64k none /tmp' 2>&1};

	if ($? != 0)
	{
		chomp($missing = 'no file system can be mounted here (' . ($said =~ s/\n.*//sr || 'unshare is missing') . ')');
		return;
	}
	$ENV{ACTIVATE_TEST_MOUNTS} = 1;
	exec @unshare, $^X, (map { "-I$_" } @INC), $0, @ARGV;
	die "could not start again: $!\n";
}

# Why there is none; '': there is.
sub missing { return $missing; }

sub new
{
	my ($class, $megabytes) = @_;

	return if $missing;
	require PostgreSQL::Test::Utils;
	my $self = bless { path => PostgreSQL::Test::Utils::tempdir_short(), megabytes => $megabytes }, $class;
	system('mount', '-t', 'tmpfs', '-o', "size=${megabytes}m,mode=0700", 'none', $self->{path}) == 0 or die "could not mount $self->{path}\n";
	return $self;
}

sub folder
{
	my ($self, $name) = @_;

	mkdir "$self->{path}/$name", 0700 or die "$self->{path}/$name: $!\n";
	return "$self->{path}/$name";
}

# To the last byte.
sub fill
{
	my ($self) = @_;
	my $block = "\0" x 4096;

	open my $file, '>', "$self->{path}/filler" or die "filler: $!\n";
	1 while defined syswrite $file, $block;
	return close $file;
}

sub empty
{
	my ($self) = @_;

	return unlink "$self->{path}/filler";
}

# It is mounted over a folder that is taken away at the end of the script.
sub DESTROY
{
	my ($self) = @_;

	local ($?, $!, $@);
	system 'umount', '-l', $self->{path};
	return;
}

1;
