# bench.pl: runs the figures and prints the table as Markdown.
use strict;
use warnings;

my $page;
BEGIN { open($page, '>&', \*STDOUT) or die "no output: $!"; }

use Bench;
use POSIX qw(strftime uname);
use PostgreSQL::Test::Utils;

require "./test/bench/figures/$_.pl" for qw(delivery faults writer outbox extract compare watch api ask);

sub first_match
{
	my ($file, $pattern) = @_;

	return slurp_file($file) =~ $pattern ? $1 : 'unknown';
}

sub versions
{
	my $curl = qx(curl-config --version 2>/dev/null) || '';
	my ($gcc) = qx(gcc -dumpfullversion) =~ /(\S+)/;

	return join ', ', node()->safe_psql('postgres', "SELECT 'PostgreSQL ' || current_setting('server_version')"),
	  $curl =~ /(libcurl \S+)/, "gcc $gcc", 'activate ' . first_match('activate.control', qr/default_version = '(.*)'/);
}

sub machine
{
	my ($system, undef, $release, undef, $architecture) = uname();
	my $cores = () = slurp_file('/proc/cpuinfo') =~ /^processor/mg;

	return sprintf '%d × %s, %.0f GB, %s %s %s; load %s when it began', $cores,
	  first_match('/proc/cpuinfo', qr/^model name\s*:\s*(.*)$/m),
	  first_match('/proc/meminfo', qr/^MemTotal:\s*(\d+)/m) / 1e6, $system, $release, $architecture,
	  first_match('/proc/loadavg', qr/^(\S+)/);
}

my @wanted = split ' ', $ENV{FIGURES} // '';
my @known = map { $_->[0] } @Bench::figures;
for my $name (@wanted)
{
	die "there is no figure \"$name\"; there are @known\n" unless grep { $_ eq $name } @known;
}

my $began = time;
my $command = join ' ', 'make bench', map { length($ENV{$_} // "") ? "$_=\"$ENV{$_}\"" : () } qw(ROUNDS FULL FIGURES);
my $machine = machine();
my $failed = 0;

Bench::start();
for my $figure (@Bench::figures)
{
	next if @wanted && !grep { $_ eq $figure->[0] } @wanted;
	my $error = Bench::run_figure($figure) or next;
	$failed = 1;
	Bench::say_progress("failed: $error");
	push @Bench::rows, [ "$figure->[0]: failed, $error" =~ s/\s+/ /gr, ('–') x 5 ];
}

print $page strftime("# Benchmarks\n\nWritten by `$command` on %Y-%m-%d, in " . int((time - $began) / 60 + 0.5) . " minutes.\n\n",
	gmtime $began);
print $page "- machine: $machine\n- ", versions(), "\n\n";
print $page "| figure | activate | baseline | ratio | to reach | |\n|---|---|---|---|---|---|\n";
print $page '| ', join(' | ', @$_), " |\n" for @Bench::rows;
print $page <<~'NOTES';

	Each figure and its baseline were measured in this run, in turns; shown are medians of the rounds, the ratio is the median of
	the rounds' ratios. How: [test/bench](../test/bench).
	NOTES
exit $failed;
