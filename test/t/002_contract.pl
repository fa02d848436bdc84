# docs/contract.md names tests that are there: the file, and in quotes what is in it.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

my (%content, @missing, $names);

for my $line (split /\n/, slurp_file('docs/contract.md'))
{
	next unless $line =~ /^\| (\d+\.\d+) \|/;
	my $number = $1;
	my $file;

	while ($line =~ /`((?:sql|test|src)\/[^`]+)`|"([^"]+)"/g)
	{
		my ($path, $name) = ($1, $2);

		if (defined $path)
		{
			$file = $path;
			$content{$file} //= -e $file ? slurp_file($file) : '';
			push @missing, "$number: $file is not there" unless -e $file;
		}
		elsif (defined $file)
		{
			$names++;
			push @missing, "$number: \"$name\" is not in $file" if index($content{$file}, $name) < 0;
		}
	}
}
cmp_ok($names, '>', 500, 'it names hundreds of tests');
is(join("\n", @missing), '', 'and each is there');
done_testing();
