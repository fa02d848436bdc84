# ActivateTest::App: an application of somebody else's, installed from npm or Debian, that runs for one test.
#
#	my $app = ActivateTest::App->new('parse');
#	plan skip_all => $app->problem unless $app->npm('parse-server@9.10.0');
#	$app->start(command => [...], env => {...}, ready => '/health');
#	my ($status, $answer) = $app->call('GET', '/classes/Contact');
#
# Everything is in a folder of its own, which the sandbox removes: REALAPPS_FOLDER
# names another, which stays, so that nothing is installed twice.
package ActivateTest::App;

use strict;
use warnings;

use Cwd ();
use File::Path ();
use HTTP::Tiny;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use Time::HiRes ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my @running;

sub new
{
	my ($class, $name) = @_;
	my $folder = ($ENV{REALAPPS_FOLDER} // "$ENV{TMPDIR}/realapps") . "/$name";

	File::Path::make_path($folder);
	return bless {
		name => $name, folder => $folder, problem => '', headers => {}, prefix => '',
		http => HTTP::Tiny->new(timeout => 60), port => PostgreSQL::Test::Cluster::get_free_port()
	}, $class;
}

sub folder  { return $_[0]->{folder}; }
sub problem { return "$_[0]->{name}: $_[0]->{problem}"; }
sub url     { my ($self, $path) = @_; return "http://127.0.0.1:$self->{port}$self->{prefix}" . ($path // ''); }

# A shell's command in the folder; false, with the end of its output as the problem, if it fails.
sub shell
{
	my ($self, $command, $what) = @_;
	my $log = "$self->{folder}/install.log";
	my $status = system("cd '$self->{folder}' && { $command; } >'$log' 2>&1 </dev/null");

	return 1 if $status == 0;
	my @lines = grep { /\S/ } split /\n/, PostgreSQL::Test::Utils::slurp_file($log);
	$self->{problem} = "$what failed: " . join(' | ', @lines > 3 ? @lines[-3 .. -1] : @lines);
	return 0;
}

# Packages of npm, of the versions given.  Their scripts do not run, but for those of @$scripts.
sub npm
{
	my ($self, $packages, %options) = @_;
	my $done = "$self->{folder}/installed";
	my $key = join(' ', @$packages);

	return 1 if -e $done && PostgreSQL::Test::Utils::slurp_file($done) eq $key;
	return $self->fails('there is no npm') if system('npm --version >/dev/null 2>&1 </dev/null') != 0;
	return 0 unless $self->shell('[ -e package.json ] || npm init -y', 'npm init');
	return 0 unless $self->shell("$options{env} npm install --no-audit --no-fund --ignore-scripts --save-exact $key", 'npm install');
	PostgreSQL::Test::Utils::append_to_file($done, $key);
	return 1;
}

sub fails
{
	my ($self, $problem) = @_;

	$self->{problem} = $problem;
	return 0;
}

# Starts it in the folder, and waits until the path answers with anything but 5xx.
sub start
{
	my ($self, %options) = @_;
	my $pid;

	# held by us alone: who waits at the other end sees us end, however we end
	pipe(my $alive, $self->{alive}) or die "pipe: $!";
	$pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		POSIX::setpgid(0, 0);
		close($self->{alive});
		$self->watch($alive);
		close($alive);
		chdir $self->{folder} or die;
		%ENV = (%ENV, %{ $options{env} // {} });
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>>', "$self->{folder}/server.log");
		open(STDERR, '>&', \*STDOUT);
		no warnings 'exec';
		exec(@{ $options{command} });
		POSIX::_exit(127);
	}
	close($alive);
	$self->{pid} = $pid;
	push @running, $self;
	for (1 .. 1200)
	{
		my ($status) = $self->call('GET', $options{ready} // '/');

		return 1 if $status < 500;
		return $self->fails("it ended at once, see $self->{folder}/server.log") if waitpid($pid, POSIX::WNOHANG()) != 0;
		Time::HiRes::usleep(100_000);
	}
	return $self->fails('it does not answer');
}

# A process that ends its group when the test is gone.
sub watch
{
	my ($self, $alive) = @_;
	my $group = $$;
	my $pid = fork() // die "fork: $!";

	return if $pid != 0;
	POSIX::setsid();
	sysread($alive, my $nothing, 1);
	kill 'KILL', -$group;
	POSIX::_exit(0);
}

sub stop
{
	my ($self) = @_;

	return unless defined $self->{pid};
	kill 'TERM', -$self->{pid};
	for (1 .. 100)
	{
		last if waitpid($self->{pid}, POSIX::WNOHANG()) != 0;
		Time::HiRes::usleep(50_000);
	}
	close($self->{alive});
	$self->{pid} = undef;
	return;
}

# One call: its status (599: no answer), and what the answer holds, JSON as a structure.
sub call
{
	my ($self, $method, $path, $body) = @_;
	my %headers = %{ $self->{headers} };

	$headers{'content-type'} = 'application/json' if defined $body;
	my $answer = $self->{http}->request($method, $self->url($path),
		{ headers => \%headers, defined $body ? (content => ref $body ? $json->encode($body) : $body) : () });
	my $content = eval { $json->decode($answer->{content}) } // $answer->{content};

	return ($answer->{status}, $content);
}

# What a call answers, if need be when it is no longer throttled; dies unless 2xx.
sub get
{
	my ($self, $path, $method, $body) = @_;
	my ($status, $answer);

	for (1 .. 200)
	{
		($status, $answer) = $self->call($method // 'GET', $path, $body);
		last if $status != 429;
		Time::HiRes::usleep(100_000);
	}

	die(($method // 'GET') . " $path: $status " . $json->encode($answer) . "\n") unless $status =~ /^2/;
	return $answer;
}

sub text { return $json->encode($_[1]); }

END
{
	my $status = $?;

	$_->stop for @running;
	$? = $status;
}

1;
